// Package kafkalog is the engine that stores events in a Kafka cluster, through franz-go.
//
// A topic of Tandem's is a topic of Kafka's, or one that was there before and is adopted. Its records are CloudEvents in the
// binding of CloudEvents for Kafka, so that other clients read them, and Tandem reads what they write (see decodeForeign). State records lie
// in one compacted topic, of which each process keeps an index (package stateindex).
//
// How it keeps the contract of package driver:
//
//   - A single event goes through one idempotent producer, acks=all, without waiting for others.
//   - A batch of several events, or of events with state, is one transaction. One committer takes all batches that wait into one.
//   - State without events is one batch of records, which a broker takes whole, without a transaction.
//   - State is decided by the order of the log: the process that wrote the last record of ownership owns it, and what
//     another one writes after that does not count. A change is confirmed when it was read back.
//   - Each partition that somebody reads has a tail, read once for all from there on; who is behind is served by single fetches.
//
// Nothing that was acknowledged is lost as long as the cluster keeps its replicas: durability is that of min.insync.replicas,
// not of a sync to disk. See docs/kafka.md and docs/adr/0018.
package kafkalog
