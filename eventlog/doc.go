// Package eventlog is the durable log of events that everything else in Tandem reads and writes. Log is the concrete
// type that the rest holds; an engine below it implements the contract of package driver.
//
// What Log does once for all engines: it checks events, gives them ids, times and partitions, recognises what to
// de-duplicate, limits sizes, queues what is accepted without waiting, keeps the list of topics, wakes readers, merges
// partitions into one order, and encodes cursors.
//
// It promises that Append and Commit return after the engine made the events durable, that no reader sees an event
// before that, that events of one key stay in the order of their appends, and that a reader learns of every loss (a
// tandem.Gap) instead of passing over it. It drops nothing but what Accept still holds when the process dies.
//
// Open takes over the engine; Close appends what Accept still holds and closes it. A Log starts one goroutine, which
// Close stops and waits for. Readers and watches start none.
package eventlog
