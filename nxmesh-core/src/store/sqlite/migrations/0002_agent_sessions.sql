-- The connection that holds an agent: what an older one says no longer counts.
ALTER TABLE agents ADD COLUMN session BLOB;
CREATE INDEX agent_secrets_expiry ON agent_secrets (expires_at);
