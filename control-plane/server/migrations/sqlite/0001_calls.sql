-- One row per call, one per durable event, one per call whose end came before its beginning.
-- Times are milliseconds since the Unix epoch. No secrets; caller_* is personal data.

CREATE TABLE calls (
    ordinal         INTEGER PRIMARY KEY AUTOINCREMENT,
    call_id         TEXT NOT NULL UNIQUE,
    signalling      TEXT NOT NULL,
    phase           TEXT NOT NULL,
    phone_number_id TEXT NOT NULL,
    caller_phone    TEXT NOT NULL,
    caller_user_id  TEXT NOT NULL,
    caller_name     TEXT NOT NULL,
    received_at_ms  INTEGER NOT NULL,
    ring_until_ms   INTEGER NOT NULL,
    session_id      TEXT NOT NULL DEFAULT '',
    node_id         TEXT NOT NULL DEFAULT '',
    node_url        TEXT NOT NULL DEFAULT '',
    region          TEXT NOT NULL DEFAULT '',
    accepted_at_ms  INTEGER,
    ended_at_ms     INTEGER,
    result          TEXT,
    reason          TEXT,
    message         TEXT,
    upstream_code   TEXT,
    -- Last event stored of this call, and last one of its node among them.
    last_sequence   INTEGER NOT NULL DEFAULT 0,
    node_sequence   INTEGER NOT NULL DEFAULT 0
);

CREATE INDEX calls_live ON calls (ordinal) WHERE ended_at_ms IS NULL;

CREATE TABLE events (
    call_id        TEXT NOT NULL REFERENCES calls (call_id),
    sequence       INTEGER NOT NULL,
    kind           TEXT NOT NULL,
    occurred_at_ms INTEGER NOT NULL,
    node_sequence  INTEGER,
    payload        BLOB NOT NULL,
    PRIMARY KEY (call_id, sequence)
) WITHOUT ROWID;

-- Meta's word that a call is over. Kept for a while: it may come before the call itself, or just before a restart.
CREATE TABLE tombstones (
    call_id      TEXT PRIMARY KEY,
    buried_at_ms INTEGER NOT NULL,
    failed       INTEGER NOT NULL,
    error_code   INTEGER
) WITHOUT ROWID;

CREATE INDEX tombstones_age ON tombstones (buried_at_ms);
