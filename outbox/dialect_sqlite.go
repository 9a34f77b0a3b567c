package outbox

import _ "embed"

//go:embed schema.sql
var schemaSQLite string

func sqlite() dialect {
	return dialect{
		outboxSchema: schemaSQLite,
		inboxSchema:  schemaSQLite,
		event:        func(json []byte) any { return json },
		relay:        func(r *Relay) sender { return &leases{r} },
		poll:         defaultPoll,

		insert: `INSERT INTO tandem_outbox (topic, key, event, written_at, held_by, held_until)
			VALUES (?1, ?2, ?3, ?4, ?5, ?6) RETURNING id`,
		load: `SELECT topic, key, event, held_by, held_until - ?2, attempts, reason FROM tandem_outbox WHERE id = ?1`,
		behind: `SELECT EXISTS (SELECT 1 FROM tandem_outbox
			WHERE topic = ?1 AND key = ?2 AND id < ?3 AND reason IS NULL)`,
		take: `UPDATE tandem_outbox SET held_by = ?1, held_until = ?2
			WHERE id = ?3 AND reason IS NULL AND (held_by = ?1 OR held_until <= ?4)`,
		drop:   `DELETE FROM tandem_outbox WHERE id = ?1 AND held_by = ?2 AND held_until > ?3`,
		remove: `DELETE FROM tandem_outbox WHERE id IN (SELECT value FROM json_each(?1))`,
		release: `UPDATE tandem_outbox SET held_by = '', held_until = 0, due_at = ?2, attempts = attempts + ?3
			WHERE held_by = ?4 AND id IN (SELECT value FROM json_each(?1))`,
		free: `UPDATE tandem_outbox SET held_by = '', held_until = 0, attempts = attempts + 1
			WHERE held_by = ?2 AND id IN (SELECT value FROM json_each(?1))`,
		aside: `UPDATE tandem_outbox SET held_by = '', held_until = 0, attempts = attempts + 1, reason = ?2
			WHERE id = ?1 AND held_by = ?3`,

		// Rows of a key are taken together or from the front: a row behind one that somebody holds, or that backs off,
		// is left. The inner LIMIT bounds the rows read, the running sum the bytes, but one row is always taken.
		claim: `UPDATE tandem_outbox SET held_by = ?1, held_until = ?2 WHERE id IN (
			SELECT id FROM (
				SELECT id, SUM(bytes) OVER (ORDER BY id) - bytes AS before FROM (
					SELECT o.id, length(o.event) AS bytes FROM tandem_outbox o
					WHERE o.reason IS NULL AND o.held_until <= ?3 AND o.due_at <= ?3
					AND (o.key = '' OR NOT EXISTS (SELECT 1 FROM tandem_outbox p
						WHERE p.topic = o.topic AND p.key = o.key AND p.id < o.id AND p.reason IS NULL
						AND (p.held_until > ?3 OR p.due_at > ?3)))
					ORDER BY o.id LIMIT ?4))
			WHERE before < ?5)
			RETURNING id, topic, key, event, attempts`,
		next: `SELECT MIN(MAX(held_until, due_at)) FROM tandem_outbox
			WHERE reason IS NULL AND (held_until > ?1 OR due_at > ?1)`,
		stats: `SELECT COUNT(*) FILTER (WHERE reason IS NULL), COUNT(*) FILTER (WHERE reason IS NOT NULL),
			MIN(written_at) FILTER (WHERE reason IS NULL) FROM tandem_outbox`,

		seen: `INSERT INTO tandem_inbox (source, id, seen_at) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING`,
		forget: `DELETE FROM tandem_inbox WHERE (source, id) IN
			(SELECT source, id FROM tandem_inbox WHERE seen_at < ?1 ORDER BY seen_at LIMIT 8)`,
	}
}
