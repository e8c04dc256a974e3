-- API keys, as hashes: a key itself is told once and kept nowhere. Rows stay when a key expires or is revoked.
-- Times are milliseconds since the Unix epoch.

CREATE TABLE api_keys (
    ordinal         INTEGER PRIMARY KEY AUTOINCREMENT,
    key_id          TEXT NOT NULL UNIQUE,
    -- SHA-256 of the key.
    hash            BLOB NOT NULL UNIQUE,
    name            TEXT NOT NULL,
    -- Words joined by +.
    scopes          TEXT NOT NULL,
    created_at_ms   INTEGER NOT NULL,
    expires_at_ms   INTEGER,
    revoked_at_ms   INTEGER,
    last_used_at_ms INTEGER
);
