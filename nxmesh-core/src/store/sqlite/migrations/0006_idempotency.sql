-- Requests that were sent with a key, and what was answered, as long as they may be sent again.
CREATE TABLE idempotency_keys (
    hash        BLOB PRIMARY KEY,
    ticket      BLOB NOT NULL,
    request     BLOB NOT NULL,
    reserved_at INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    answer      BLOB
) WITHOUT ROWID;
CREATE INDEX idempotency_keys_expiry ON idempotency_keys (expires_at);
