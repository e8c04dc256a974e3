-- A call gets an id of ours, a UUID of version 7 (RFC 9562); Meta's, which was the key until now, becomes an attribute. It is
-- NULL where Meta gave none. Positions of events stay, and so do cursors.

-- Calls and their events change names one after the other.
PRAGMA defer_foreign_keys = ON;

ALTER TABLE calls ADD COLUMN wacid TEXT;
UPDATE calls SET wacid = call_id;
CREATE UNIQUE INDEX calls_wacid ON calls (wacid);

-- The time a call came, then 74 random bits.
UPDATE calls SET call_id =
    substr(printf('%012x', max(received_at_ms, 0)), -12, 8) || '-'
    || substr(printf('%012x', max(received_at_ms, 0)), -4) || '-7'
    || substr(lower(hex(randomblob(2))), 1, 3) || '-'
    || substr('89ab', 1 + (random() & 3), 1) || substr(lower(hex(randomblob(2))), 1, 3) || '-'
    || lower(hex(randomblob(6)));
UPDATE events SET call_id = (SELECT calls.call_id FROM calls WHERE calls.wacid = events.call_id);

-- A call that nobody claimed has no id of ours.
ALTER TABLE tombstones RENAME COLUMN call_id TO wacid;
