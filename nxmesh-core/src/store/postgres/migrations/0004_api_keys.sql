CREATE TABLE api_keys (
    id              uuid PRIMARY KEY,
    hash            bytea NOT NULL UNIQUE,
    organization_id uuid NOT NULL REFERENCES organizations ON DELETE CASCADE,
    user_id         uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    expires_at      bigint,
    created_at      bigint NOT NULL,
    body            text NOT NULL
);
CREATE INDEX api_keys_of_organization ON api_keys (organization_id, created_at, id);
CREATE INDEX api_keys_of_user ON api_keys (user_id);
CREATE INDEX refresh_tokens_of_user ON refresh_tokens (user_id);
