// Package demo starts the shop of examples/shop, with a Tandem server on the embedded log in the middle, and lets
// customers order.
//
// The server and the five services are child processes of the same binary, started again when they die, each on a port
// of its own on loopback. The parent drives the customers over the public listener, watches the events that follow over
// the API, and at the end compares the books of the services with the orders.
//
// Run stops what it started before it returns. Should the parent be killed, its children end by themselves: their
// standard input closes and, on Linux, the kernel kills them.
package demo
