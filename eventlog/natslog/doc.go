// Package natslog is the engine on NATS JetStream, server 2.12 or newer: one stream for each partition, and one for state.
//
// It promises what package driver asks, with offsets that count within each partition and without Atomic: the events of one Append are stored
// partition by partition, all of a partition's or none, and its state after them, all of it or none. Both hold for up to 1,000 records of a
// partition and 1,000 of state, which is what the server takes at once; more are stored in several steps, in order. A repeated id is recognised
// by the server within a window (Options.DuplicateWindow) and one partition; eventlog.Log recognises what is beyond.
//
// Others may publish to the topics and follow them: docs/nats.md has the subjects. What they publish is read as CloudEvents, in binary or
// structured mode, and any other message as an event of type nats.message.
//
// One process has the log. Another one that opens it takes it over: what the older one writes of state is refused by the server, and it
// notices, says so in Health and writes nothing more.
//
// A server that does not answer is waited for as long as Options.Timeout says; then calls end with Unavailable and Health says why. What this
// process has in memory is read meanwhile: the newest events of the partitions that have readers (Options.CacheBytes), state, topics and
// bounds. The connection comes back by itself.
//
// Nothing is dropped here but by retention, which the server runs. Open starts the goroutines, Close stops them and waits.
package natslog
