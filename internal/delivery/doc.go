// Package delivery is the loop that takes events from the log to the endpoints of subscriptions until each has an outcome:
// delivered, dead, expired (retention overtook it) or discarded.
//
// # Promises
//
// Order: the events of one key are first sent in log order, one at a time; another key never waits for a failing one.
// At least once: an outcome is durable together with the cursor, replies to it, parked keys and retry times, in commit
// groups of at most 20 ms. After a crash what was in flight and one such group is sent again, nothing else; attempts are
// counted on. Nobody waits for a stranger: each partition is read once for all subscriptions that are caught up, and one
// that is not reads for itself, so that a slow or dead endpoint delays no other subscription and no publisher.
//
// # Bounds
//
// A subscription holds at most 1,024 events or 8 MiB in memory (one event may exceed the latter), 1,000 parked keys, 10,000 waiting events, 256 redrives under way,
// some 256 answers with replies that wait for a slow log (and those under way),
// 16 attempts of each delivery that failed, and copies (dead letters and parked events) of 1 GiB in the log. At any of these it stops reading, without loss, until there is room.
// What is read past the end of retention is recorded as expired. The ledger goes back Options.LedgerAge or LedgerBytes; a query of it looks at
// 20,000 events or rows at most.
//
// # Who stops it
//
// Manager.Stop lets what is in flight finish, then cancels it, and returns when every goroutine is gone.
//
// # Reading the code
//
// An event's way: reader.go (shared) or feed.go (a subscription on its own) → index.go → lanes.go → attempt.go and send.go
// (with policy.go, batch.go and rate.go; see docs/adr/0009-policies.md) → settle.go and endpoint.go (what a failure means) → commit.go → state.go (the records; see docs/adr/0006-delivery-state.md).
// Where they go to RabbitMQ: amqptarget.go in place of send.go's requests; see docs/amqp.md.
// What became of each delivery: ledger.go (what is noted) → ledgersegment.go and ledgerrun.go (how it lies) → ledgersweep.go (retention);
// asked for: ledgerquery.go and ledgerpage.go (by key, state, time) → standing.go (one event, whatever its state) → ledgerfind.go and versions.go;
// see docs/adr/0011-ledger.md.
// Where clients pull: pull.go (who waits) → handover.go (what is leased) → lease.go (what a lease is, and its end) → ack.go and leases.go,
// instead of attempt.go; see docs/adr/0010-leases.md. By hand: deadselect.go (which dead letters) → redrive.go → pace.go (at a rate); seek.go; replay.go;
// damaged.go (records that cannot be read); see docs/adr/0012-replay-and-redrive.md.
package delivery
