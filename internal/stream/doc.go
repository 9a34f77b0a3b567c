// Package stream hands stored events to ephemeral readers: JSON pages, long polls, server-sent events (HTML, section 9.2) and
// WebSockets, all resumed by cursor. docs/streams.md is what they look like.
//
// A tail (tail.go) reads each selection once for all members that keep up, encodes each event once for each format, and finds the groups
// of members whose filter it matches. Writers (writer.go), one for each processor, hand the bytes, which are shared, to their members (member.go)
// with writes that never wait, several events in one. A member that does not take them gets a goroutine, its pump (pump.go),
// which has the connection until nothing waits; one that falls behind further is read for from the log, at its own pace, and joined to the
// tail again at exactly the place where it stands (eventlog.Mark). So a slow client costs nobody else anything, nothing is buffered
// without bound, and a restart or a reload is nothing special: every stream reads the log.
//
// A quiet stream has one goroutine, which waits for what the client sends (listen.go, converse.go), and no buffer. What waits for clients in memory
// is bounded by Options.WaitingBytes, beyond that by one segment each; who reads for itself holds one read, about 64 KiB and an event, or
// 512 KiB where it is conflated, and few read at a time. Events come at least once: a client that remembers the last cursor gets each
// once. Order is that of the log, or of each partition where the engine has no order over all.
//
// Drain asks open streams to connect again, spread over a window, and ends them; Stop ends what is left and waits for every goroutine.
package stream
