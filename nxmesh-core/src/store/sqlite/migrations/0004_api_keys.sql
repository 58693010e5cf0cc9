CREATE TABLE api_keys (
    id              BLOB PRIMARY KEY,
    hash            BLOB NOT NULL UNIQUE,
    organization_id BLOB NOT NULL REFERENCES organizations ON DELETE CASCADE,
    user_id         BLOB NOT NULL REFERENCES users ON DELETE CASCADE,
    expires_at      INTEGER,
    created_at      INTEGER NOT NULL,
    body            TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX api_keys_of_organization ON api_keys (organization_id, created_at, id);
CREATE INDEX api_keys_of_user ON api_keys (user_id);
CREATE INDEX refresh_tokens_of_user ON refresh_tokens (user_id);
