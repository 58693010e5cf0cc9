-- The connection that holds an agent: what an older one says no longer counts.
ALTER TABLE agents ADD COLUMN session uuid;
CREATE INDEX agent_secrets_expiry ON agent_secrets (expires_at);

-- What only one server does at a time. Time is the database's own.
CREATE TABLE leases (
    name        text PRIMARY KEY,
    holder      uuid NOT NULL,
    ends_at     timestamptz NOT NULL
);

-- Commands on their way from one server to another; not worth an fsync.
CREATE UNLOGGED TABLE commands (
    id          uuid PRIMARY KEY,
    agent_id    uuid NOT NULL,
    action      text NOT NULL,
    ends_at     timestamptz NOT NULL,
    taken       boolean NOT NULL DEFAULT false,
    outcome     text
);
CREATE INDEX commands_that_wait ON commands (agent_id) WHERE NOT taken;
