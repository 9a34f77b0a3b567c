// Package benchstream is what Tandem's streams are measured with, over nothing but HTTP: a load of many clients of
// server-sent events and WebSocket, and the least that a server can do for them.
//
// The clients run in a process of their own, which is the test's program again (Main, Start), so that what they cost is not
// taken for what the server costs. On Linux one goroutine reads all of them through epoll. Each counts its events and, if
// asked to, checks that none is missing, repeated or out of order, and how long ago it was published: the data of events is
// made by Data, which carries both.
//
// The floors are a Bare server, which writes bytes that are ready to connections that it does not read, and Handler, the plain
// handler of net/http with a goroutine for each client.
package benchstream
