-- Lists of calls, by what they are searched for: a page is read along one of these, in the order of time. Of calls of one
-- millisecond the ordinal decides, which every index ends with by itself.
CREATE INDEX calls_by_time ON calls (received_at_ms);
CREATE INDEX calls_by_number ON calls (phone_number_id, received_at_ms);
CREATE INDEX calls_by_caller_phone ON calls (caller_phone, received_at_ms);
CREATE INDEX calls_by_caller_user_id ON calls (caller_user_id, received_at_ms);
CREATE INDEX calls_by_node ON calls (node_id, received_at_ms);
-- A call has its result from its ending on, and is found by it once its record is closed.
CREATE INDEX calls_by_result ON calls (result, received_at_ms) WHERE ended_at_ms IS NOT NULL;
CREATE INDEX calls_by_reason ON calls (reason, received_at_ms) WHERE ended_at_ms IS NOT NULL;
CREATE INDEX calls_live_by_time ON calls (received_at_ms) WHERE ended_at_ms IS NULL;
DROP INDEX calls_live;
