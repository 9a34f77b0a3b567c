// Package flow answers what one cause set off: the request, its events, every delivery and attempt, replies, the operation's end, as one
// graph; see docs/adr/0025-flows.md.
//
// # Promises
//
// Nothing is invented and nothing is left out in silence: what the graph may lack is said in Flow.Missing. An index says where the events of
// a flow lie; it is built behind the acknowledgement, from the log, and can be lost without harm. All else is read where it is kept when it is
// asked for.
//
// # Bounds
//
// The index goes back Options.Age or Options.Bytes, whichever is shorter. Requests are in memory: 4,096, and 1,024 more that failed. A graph
// has at most 1,000 events and 10,000 nodes. The reader holds one page of events, at most 4 MiB of data.
//
// # Who stops it
//
// Start starts one goroutine, Stop ends it and waits for it.
//
// Read flows.go (what is asked), indexer.go (how the index is built), graph.go (how a graph is put together) with its parts nodes.go, calls.go,
// links.go, operations.go, list.go and requests.go, and explain.go (why an event did not arrive).
package flow
