// Package demo starts the systems of examples, with a Tandem server on the embedded log in the middle: Run the shop, in which
// customers order, and RunFleet the fleet, whose vehicles send their positions.
//
// The server and the services are child processes of the same binary, started again when they die, each on a port
// of its own on loopback. The parent plays the customers, or the vehicles, over the public listener, and watches what follows. At the end it
// compares the books of the shop's services with the orders, and the positions that were stored and seen with those that were sent.
//
// Both stop what they started before they return. Should the parent be killed, its children end by themselves: their
// standard input closes and, on Linux, the kernel kills them.
package demo
