-- Calls are deleted by the age of their end.
CREATE INDEX calls_ended ON calls (ended_at_ms) WHERE ended_at_ms IS NOT NULL;
