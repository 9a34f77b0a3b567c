package outbox

import (
	"context"
	"database/sql"
	_ "embed"
)

//go:embed postgres_outbox.sql
var postgresOutbox string

//go:embed postgres_inbox.sql
var postgresInbox string

// PostgreSQLSchema returns the statements that create the tables of the outbox and of the inbox on PostgreSQL where they
// are missing, for whoever creates tables by other means than Open and OpenInbox. They are fit for one session at a time.
func PostgreSQLSchema() string { return postgresOutbox + "\n" + postgresInbox }

// createKey is the advisory lock under which tables are created: IF NOT EXISTS does not help two that begin together.
const createKey = 0x74616e64656d // "tandem"

// create executes schema unless the tables are there. On PostgreSQL it first looks, so that a service needs no right to
// create tables, and so that nothing waits for the locks that creating takes.
func (d *dialect) create(ctx context.Context, db *sql.DB, schema string) error {
	if d.lock == "" { // SQLite
		_, err := db.ExecContext(ctx, schema)
		return err
	}
	table := "tandem_outbox_bucket" // the last one that the schema creates
	if schema == d.inboxSchema {
		table = "tandem_inbox"
	}
	var there bool
	if err := db.QueryRowContext(ctx, "SELECT to_regclass($1::text) IS NOT NULL", table).Scan(&there); err != nil || there {
		return err
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock($1::bigint)", int64(createKey)); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, schema); err != nil {
		return err
	}
	return tx.Commit()
}

// byIndex are settings of a transaction, in four columns.
const byIndex = `set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true), set_config('enable_hashjoin', 'off', true),
	set_config('jit', 'off', true)`

// postgres reckons with statement_timestamp(): the clock of the database, which stands still within a statement, so that
// one row cannot become due while the next one is looked at. Parameters are cast, because some ways of executing a
// statement send them as text.
func postgres() dialect {
	return dialect{
		outboxSchema: postgresOutbox,
		inboxSchema:  postgresInbox,
		event:        func(json []byte) any { return string(json) },
		relay:        func(r *Relay) sender { return newBuckets(r) },
		poll:         bucketPoll,

		insert: `INSERT INTO tandem_outbox (topic, key, event, held_by, held_until)
			VALUES ($1::text, $2::text, $3::text::json, $5::text, CASE WHEN $6::bigint = 0 THEN 'epoch'
				ELSE statement_timestamp() + ($6::bigint - $4::bigint) * interval '1 millisecond' END) RETURNING id`,
		load: `SELECT topic, key, event::text, held_by,
			(extract(epoch FROM held_until - statement_timestamp()) * 1000)::bigint, attempts, reason
			FROM tandem_outbox WHERE id = $1::bigint AND $2::bigint IS NOT NULL`,
		behind: `SELECT EXISTS (SELECT 1 FROM tandem_outbox
			WHERE bucket = (SELECT bucket FROM tandem_outbox WHERE id = $3::bigint)
			AND topic = $1::text AND key = $2::text AND id < $3::bigint AND reason IS NULL)`,
		// A row that a relay has locked is being sent: it is not waited for.
		take: `UPDATE tandem_outbox SET held_by = $1::text,
				held_until = statement_timestamp() + ($2::bigint - $4::bigint) * interval '1 millisecond'
			WHERE id = (SELECT id FROM tandem_outbox WHERE id = $3::bigint AND reason IS NULL
				AND (held_by = $1::text OR held_until <= statement_timestamp()) FOR UPDATE SKIP LOCKED)`,
		drop: `DELETE FROM tandem_outbox WHERE id = $1::bigint AND held_by = $2::text
			AND held_until > statement_timestamp() AND $3::bigint IS NOT NULL`,
		remove: `DELETE FROM tandem_outbox WHERE id IN (SELECT value::bigint FROM json_array_elements_text($1::text::json))`,
		free: `UPDATE tandem_outbox SET held_by = '', held_until = 'epoch', attempts = attempts + 1
			WHERE held_by = $2::text AND id IN (SELECT value::bigint FROM json_array_elements_text($1::text::json))`,
		aside: `UPDATE tandem_outbox SET held_by = '', held_until = 'epoch', attempts = attempts + 1, reason = $2::text
			WHERE id = $1::bigint`,
		stats: `SELECT COUNT(*) FILTER (WHERE reason IS NULL), COUNT(*) FILTER (WHERE reason IS NOT NULL),
			(extract(epoch FROM MIN(written_at) FILTER (WHERE reason IS NULL)) * 1000)::bigint FROM tandem_outbox`,

		// One look into the index for each bucket.
		due: `SELECT n, b.bucket IS NOT NULL FROM generate_series(0, 63) n LEFT JOIN tandem_outbox_bucket b ON b.bucket = n
			CROSS JOIN LATERAL (SELECT 1 FROM tandem_outbox o WHERE o.bucket = n AND o.reason IS NULL
				AND o.held_until <= statement_timestamp() AND o.due_at <= statement_timestamp() LIMIT 1) first`,
		// What the planner was told of a table that fills and empties is never true: it is left no way but the indexes.
		plan: "SELECT " + byIndex,
		// A relay that is gone without a word must not keep its bucket until TCP notices.
		lock: `SELECT bucket, set_config('idle_in_transaction_session_timeout', $2::text, true), ` + byIndex + `
			FROM tandem_outbox_bucket WHERE bucket = $1::smallint FOR UPDATE SKIP LOCKED`,
		// Rows of a key are taken together or from the front: a row behind one that somebody holds, or that backs off, is
		// left. So is, by who calls this, one behind a row that could not be locked: DropTx or an operator is at it.
		// The running sum bounds the bytes, but one row is always taken.
		read: `WITH front AS MATERIALIZED (
				SELECT id, topic, key, attempts, bytes FROM tandem_outbox o
				WHERE bucket = $1::smallint AND reason IS NULL AND held_until <= statement_timestamp() AND due_at <= statement_timestamp()
				AND (key = '' OR NOT EXISTS (SELECT 1 FROM tandem_outbox p
					WHERE p.topic = o.topic AND p.key = o.key AND p.id < o.id AND p.reason IS NULL
					AND (p.held_until > 'epoch' OR p.due_at > 'epoch')
					AND (p.held_until > statement_timestamp() OR p.due_at > statement_timestamp())))
				ORDER BY id LIMIT $2::int),
			batch AS MATERIALIZED (SELECT * FROM (
				SELECT *, SUM(bytes) OVER (ORDER BY id) - bytes AS before FROM front) f WHERE before < $3::int),
			free AS MATERIALIZED (SELECT id, topic, key, event::text AS event, attempts FROM tandem_outbox WHERE id = ANY (ARRAY(SELECT id FROM batch))
				AND reason IS NULL AND held_until <= statement_timestamp() AND due_at <= statement_timestamp() FOR UPDATE SKIP LOCKED)
			SELECT id, topic, key, event, attempts, true FROM free
			UNION ALL SELECT id, topic, key, '', attempts, false FROM batch WHERE id NOT IN (SELECT id FROM free) ORDER BY 1`,
		later: `UPDATE tandem_outbox SET due_at = statement_timestamp() + $2::bigint * interval '1 millisecond', attempts = attempts + $3::int
			WHERE id IN (SELECT value::bigint FROM json_array_elements_text($1::text::json))`,

		seen: `INSERT INTO tandem_inbox (source, id, seen_at) VALUES ($1::text, $2::text, to_timestamp($3::bigint / 1000.0))
			ON CONFLICT DO NOTHING`,
		// What another transaction is forgetting is left to it: two must not wait for each other.
		forget: `WITH old AS MATERIALIZED (SELECT source, id FROM tandem_inbox WHERE seen_at < to_timestamp($1::bigint / 1000.0)
				ORDER BY seen_at LIMIT 8 FOR UPDATE SKIP LOCKED)
			DELETE FROM tandem_inbox i USING old WHERE i.source = old.source AND i.id = old.id`,
	}
}
