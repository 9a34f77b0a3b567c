// Package migrate copies a whole log into another engine: topics, events, and all state that Tandem keeps beside them, with a map of offsets, so
// that cursors of the old log stay places in the new one.
//
// Events keep their partition, their order, their identity and all that Tandem stored with them, the time of acceptance included. Into an engine
// with one sequence they go in the order of the old log, or by acceptance if that had none; into others partition by partition. What retention
// has removed from the old log is not copied.
//
// A copy may end at any point and be run again: it goes on where it was, and doubles nothing. What tells it where it was is the map, which is
// written behind the events, and the end of each partition of the new log, which is compared with the old one from there on. The new log refuses to
// be opened until the copy is finished. The old log is only read.
//
// State belongs to rooms, which say how their records are to be translated (Room). A record of no room is refused, since nobody knows whether it
// holds offsets.
//
// Memory is bounded by constants, not by the size of a log: events read ahead (32 MiB), a batch (4 MiB), pairs of offsets that were not written
// yet (16 MiB), recent ids (64 MiB), and a few hundred bytes for each partition. A Migration leaves
// no goroutine behind when a method returns.
package migrate
