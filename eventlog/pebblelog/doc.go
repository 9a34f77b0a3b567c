// Package pebblelog is the embedded engine: one directory, one process, everything in a Pebble store.
//
// It promises what package driver asks, with Atomic, TotalOrder and Dedup at append. One committer takes all batches that
// wait, gives every event its number, writes them as one Pebble batch and goes on while a second goroutine, the finisher,
// waits for the sync, makes the events readable, notifies and answers. Readers are bound by the synced position, so they
// never see what a crash could take back, although Pebble itself shows a batch before its sync returns.
//
// What is dropped, and when: events, by a topic's retention, in whole segments or in ranges of one topic within a segment
// (by age: up to a segment's span late, see Options.SegmentSpan), and with their topic; fingerprints of ids, by the window.
// Nobody is waited for: readers that are overtaken read from what is left. Appends that would take the volume below its
// free-space mark are refused; after a failed sync or commit the engine is read-only until it is opened again. While a
// commit does not return, for ten seconds and longer, whoever waits is answered with Unavailable, and so is Health; when it
// returns the engine goes on. An event that was in the commit group may then be stored although its sender was refused.
//
// Open starts the goroutines, Close stops them and waits, except for those of Pebble after a failure: the one that met it
// is parked, since Pebble expects the process to end there.
package pebblelog
