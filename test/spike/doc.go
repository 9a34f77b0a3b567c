// Package spike keeps the contract of package driver honest: two small drivers, one over Kafka and one over NATS
// JetStream, that append, read and append with state, run against the parts of the conformance suite that this takes.
// They are not the engines and share no code with them; docs/adr/0005-contract-spike.md says what they taught.
//
// The codec of events is gob, since the encoding of events is not what is tried here.
package spike
