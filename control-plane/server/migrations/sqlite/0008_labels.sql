-- What users of the API note on calls. The time of the call stands here too, so that calls with a label are found in its order.
CREATE TABLE labels (
    ordinal        INTEGER NOT NULL REFERENCES calls (ordinal) ON DELETE CASCADE,
    name           TEXT NOT NULL,
    value          TEXT NOT NULL,
    received_at_ms INTEGER NOT NULL,
    PRIMARY KEY (ordinal, name)
) WITHOUT ROWID;

CREATE INDEX labels_by_value ON labels (name, value, received_at_ms, ordinal);
