// Package stream hands stored events to ephemeral readers: JSON pages, long polls, and server-sent events (HTML, section
// 9.2) that are resumed by cursor. All three read the log for themselves, so a slow client costs nobody else anything: it is
// caught up from the log when it reads again, and is told of a gap if retention was faster.
//
// Each open stream has the goroutine of its request, at most one page of events (about 4 MiB) and its encoded form; a
// write that makes no progress for Options.WriteTimeout ends the stream. At most Options.MaxStreams streams and long polls
// are open at a time; beyond that Overloaded is answered. An event reaches a client of SSE at least once: a client that
// remembers the last id gets each once. Drain tells open streams to reconnect and ends them; Stop waits until all have
// ended. The package starts no goroutine of its own.
package stream
