-- Every event gets a position among all events, so that a stream over all calls can be resumed. Never used twice, also not
-- after retention (AUTOINCREMENT); one connection writes, so positions appear in their order.
CREATE TABLE positioned_events (
    position       INTEGER PRIMARY KEY AUTOINCREMENT,
    call_id        TEXT NOT NULL REFERENCES calls (call_id),
    sequence       INTEGER NOT NULL,
    kind           TEXT NOT NULL,
    occurred_at_ms INTEGER NOT NULL,
    node_sequence  INTEGER,
    payload        BLOB NOT NULL,
    UNIQUE (call_id, sequence)
);

-- Those of before: by time, but never against the order within a call, whose events come from two clocks.
INSERT INTO positioned_events (call_id, sequence, kind, occurred_at_ms, node_sequence, payload)
SELECT call_id, sequence, kind, occurred_at_ms, node_sequence, payload
FROM (SELECT *, max(occurred_at_ms) OVER (PARTITION BY call_id ORDER BY sequence) AS not_before_ms FROM events)
ORDER BY not_before_ms, call_id, sequence;

DROP TABLE events;
ALTER TABLE positioned_events RENAME TO events;

-- Random keys that this database made for itself, e.g. to know its own cursors.
CREATE TABLE own_keys (
    name TEXT PRIMARY KEY,
    key  BLOB NOT NULL
) WITHOUT ROWID;
