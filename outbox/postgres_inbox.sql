-- The inbox on PostgreSQL: one row is one event that took its effect. A service inserts it in the transaction of the effect.
CREATE TABLE IF NOT EXISTS tandem_inbox (
  source  text        NOT NULL,
  id      text        NOT NULL,
  seen_at timestamptz NOT NULL DEFAULT statement_timestamp(),
  PRIMARY KEY (source, id)
);
CREATE INDEX IF NOT EXISTS tandem_inbox_seen ON tandem_inbox (seen_at);
