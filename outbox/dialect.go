package outbox

import (
	"context"
	"database/sql"
	"strings"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// dialect holds what differs between databases: the statements, and how relays share the rows. Times are Unix
// milliseconds of the caller's clock; a database that many machines use reckons with the spans between them, by its own.
type dialect struct {
	outboxSchema string
	inboxSchema  string
	event        func(json []byte) any // an event as a parameter
	relay        func(*Relay) sender
	poll         time.Duration // by default

	// Outbox
	insert  string // topic, key, event, written, holder, until → id
	load    string // id, now → topic, key, event, holder, milliseconds that it is held, attempts, reason
	behind  string // topic, key, id → whether an earlier row of the key waits
	take    string // holder, until, id, now: unless somebody else holds it
	drop    string // id, holder, now: only while held
	remove  string // ids (JSON array)
	release string // ids (JSON array), due, failed attempts to add, holder: only what it holds
	free    string // ids (JSON array), holder: only what it holds
	aside   string // id, reason, holder: only while it holds it
	stats   string // → waiting, set aside, oldest waiting

	// Relays that share by leases
	claim string // holder, until, now, rows, bytes → id, topic, key, event, attempts
	next  string // now → when a row that is held or backs off may be taken, or NULL

	// Relays that share by buckets
	plan  string // settings of a transaction that only reads
	due   string // → buckets that have something to send, and whether each has its row to lock
	lock  string // bucket, milliseconds: locks it while the transaction lives, and is idle for no longer → bucket and five columns, if it was free
	read  string // bucket, rows, bytes → id, topic, key, event, attempts, whether the row was free, in order; locks what was
	later string // ids (JSON array), milliseconds from now, failed attempts to add

	// Inbox
	seen   string // source, id, now
	forget string // before
}

// detect asks the database what it is. Codes: Unsupported, or what package tandem gives an error of the database.
func detect(ctx context.Context, db *sql.DB) (dialect, error) {
	var version string
	err := db.QueryRowContext(ctx, "SELECT version()").Scan(&version)
	if err == nil {
		if strings.HasPrefix(version, "PostgreSQL ") {
			return postgres(), nil
		}
		return dialect{}, tandem.Errorf(tandem.CodeUnsupported, "the database is %q: it has to be PostgreSQL or SQLite", version)
	}
	if db.QueryRowContext(ctx, "SELECT sqlite_version()").Scan(&version) == nil {
		return sqlite(), nil
	}
	return dialect{}, tandem.Wrap("ask the database what it is", err)
}
