-- Requests that were sent with a key, and what was answered, as long as they may be sent again.
CREATE TABLE idempotency_keys (
    hash        bytea PRIMARY KEY,
    ticket      uuid NOT NULL,
    request     bytea NOT NULL,
    reserved_at bigint NOT NULL,
    expires_at  bigint NOT NULL,
    answer      bytea
);
CREATE INDEX idempotency_keys_expiry ON idempotency_keys (expires_at);
