-- When a hang-up without a call came, in the words of its protocol.
ALTER TABLE tombstones RENAME COLUMN buried_at_ms TO hung_up_at_ms;
