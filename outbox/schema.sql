-- One row is one event that waits to be published. It is written in the service's own transaction and deleted after the
-- receipt. Times are Unix milliseconds.
CREATE TABLE IF NOT EXISTS tandem_outbox (
  id         INTEGER PRIMARY KEY AUTOINCREMENT, -- order of writing
  topic      TEXT    NOT NULL,
  key        TEXT    NOT NULL,                  -- orders events within the topic; '' is no order
  event      BLOB    NOT NULL,                  -- CloudEvents 1.0 JSON, structured
  written_at INTEGER NOT NULL,
  held_by    TEXT    NOT NULL,                  -- who sends it, and
  held_until INTEGER NOT NULL,                  -- until when nobody else may; 0: nobody does
  due_at     INTEGER NOT NULL DEFAULT 0,        -- not before, after a failure
  attempts   INTEGER NOT NULL DEFAULT 0,        -- that failed
  reason     TEXT                               -- why it was set aside; NULL: it will be sent
);
CREATE INDEX IF NOT EXISTS tandem_outbox_key ON tandem_outbox (topic, key, id);

-- One row is one event that took its effect.
CREATE TABLE IF NOT EXISTS tandem_inbox (
  source  TEXT    NOT NULL,
  id      TEXT    NOT NULL,
  seen_at INTEGER NOT NULL,
  PRIMARY KEY (source, id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS tandem_inbox_seen ON tandem_inbox (seen_at);
