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
//     PublishNow or Relay, while an earlier one waits or is being sent. On PostgreSQL, where transactions overlap, the
//     order holds between those of one key of which the second writes after the first has committed; there is none
//     between others, and a row that becomes visible late is sent then.
//   - One sender a row: PublishNow and any number of relays, in any number of processes, do not take the same row. Who
//     sends holds it by a lease in the row; a relay on PostgreSQL by locks of its transaction. A holder that dies is
//     succeeded when its lease is out or its connection is gone.
//   - Nothing blocks for ever: a row that the log will never take (Invalid, Conflict, TooLarge, MediaType, Unsupported,
//     or refused by a request link) is set aside with the reason. It then no longer holds back its key.
//
// Rows that are set aside stay until somebody deletes them, or sets reason to NULL to have them sent again; Stats counts
// them. Nothing else is dropped.
//
// Open and OpenInbox find out which database they are given, SQLite or PostgreSQL 13 or newer, and create the tables
// that are missing. They are meant to be read: an event is stored as structured CloudEvents JSON. The package links no
// driver; the service chooses one of database/sql (tested: ncruces/go-sqlite3, jackc/pgx/v5). SQLite should run with a busy
// timeout, immediate transactions and synchronous=FULL, because a commit is the promise to publish. On PostgreSQL the
// tables are a contract, which services in any language write to and `tandem relay` serves: see docs/outbox.md.
//
// A relay on PostgreSQL has a transaction open while it sends, for Options.Hold at most, so that whatever kills it frees
// what it took. On SQLite, where a transaction that writes keeps out all others, it has not.
//
// Only Relay has a goroutine: who starts it stops it.
package outbox
