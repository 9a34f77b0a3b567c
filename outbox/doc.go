// Package outbox lets a service change its own database and publish an event as one step. The event is written to a
// table in the service's transaction (WriteTx) and sent after the commit: at once by PublishNow, or in the background by
// the Relay. A service that receives events takes each one's effect once with the Inbox, in its own transaction too.
//
//	tx, _ := db.BeginTx(ctx, nil)
//	// … the service's own statements …
//	ids, err := box.WriteTx(ctx, tx, "orders", event)
//	tx.Commit()
//	results, err := box.PublishNow(ctx, ids...)
//
// What it promises:
//
//   - An event is published if, and only if, the transaction that wrote it commits.
//   - At least once: a row is deleted after the receipt. A crash between the two sends the event again under the id that
//     WriteTx gave it, which the log recognises as a repeat within its window (24 h by default).
//   - Order: events of one topic and key are sent in the order they were written. A later row of a key is not sent, by
//     PublishNow or Relay, while an earlier one waits or is being sent.
//   - One sender a row: who sends a row holds it by a lease in the row, so that PublishNow and any number of relays, in
//     any number of processes, do not take the same row. A holder that dies is succeeded when its lease is out.
//   - Nothing blocks for ever: a row that the log will never take (Invalid, Conflict, TooLarge, MediaType, Unsupported,
//     or refused by a request link) is set aside with the reason. It then no longer holds back its key.
//
// Rows that are set aside stay until somebody deletes them, or sets reason to NULL to have them sent again; Stats counts
// them. Nothing else is dropped.
//
// The tables are in schema.sql, which Open and OpenInbox execute. They are meant to be read: an event is stored as
// structured CloudEvents JSON. SQLite is supported, through any database/sql driver; other databases differ in the
// statements of dialect.go only. SQLite should run with a busy timeout, immediate transactions and synchronous=FULL,
// because a commit is the promise to publish.
//
// Only Relay has a goroutine: who starts it stops it.
package outbox
