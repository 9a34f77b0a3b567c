-- The outbox on PostgreSQL, 13 or newer. A service in any language inserts topic, key and event in its own transaction; a
-- relay sends the event and deletes the row. docs/outbox.md has examples.
CREATE TABLE IF NOT EXISTS tandem_outbox (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, -- order of writing
  topic      text   NOT NULL CONSTRAINT tandem_outbox_topic_is_a_name
             CHECK (topic ~ '^[a-z0-9][a-z0-9_-]*(\.[a-z0-9_-]+)*$' AND length(topic) <= 200),
  key        text   NOT NULL,                                 -- orders events within the topic; '' is no order
  event      json   NOT NULL CONSTRAINT tandem_outbox_event_is_an_object
             CHECK (json_typeof(event) = 'object'),           -- CloudEvents 1.0 JSON, structured
  written_at timestamptz NOT NULL DEFAULT statement_timestamp(),

  -- What follows is the relay's. A service leaves it alone.
  bucket     smallint    NOT NULL GENERATED ALWAYS AS         -- the unit in which relays share the work: hash(key) mod 64
             (CASE WHEN key = '' THEN id & 63 ELSE get_byte(decode(md5(key), 'hex'), 0) & 63 END) STORED,
  bytes      integer     NOT NULL GENERATED ALWAYS AS (octet_length(event::text)) STORED,
  held_by    text        NOT NULL DEFAULT '',                 -- who sends it by itself (PublishNow), and
  held_until timestamptz NOT NULL DEFAULT 'epoch',            -- until when nobody else may
  due_at     timestamptz NOT NULL DEFAULT 'epoch',            -- not before, after a failure
  attempts   integer     NOT NULL DEFAULT 0,                  -- that failed because of this row or its topic
  reason     text                                             -- why it was set aside; NULL: it will be sent
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000, autovacuum_vacuum_cost_delay = 0);
-- The way of the relay, and the few rows that hold back those behind them.
CREATE INDEX IF NOT EXISTS tandem_outbox_next ON tandem_outbox (bucket, id) WHERE reason IS NULL;
CREATE INDEX IF NOT EXISTS tandem_outbox_waits ON tandem_outbox (topic, key, id)
  WHERE reason IS NULL AND (held_until > 'epoch' OR due_at > 'epoch');

-- Who sends the rows of a bucket has locked its row here. The rows never change.
CREATE TABLE IF NOT EXISTS tandem_outbox_bucket (bucket smallint PRIMARY KEY CHECK (bucket BETWEEN 0 AND 63));
INSERT INTO tandem_outbox_bucket SELECT generate_series(0, 63) ON CONFLICT DO NOTHING;
