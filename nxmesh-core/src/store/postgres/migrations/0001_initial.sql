-- Times are microseconds since 1970, bodies are JSON.

CREATE TABLE users (
    id          uuid PRIMARY KEY,
    email       text NOT NULL,
    email_key   text NOT NULL UNIQUE,
    password    text NOT NULL,
    created_at  bigint NOT NULL
);

CREATE TABLE organizations (
    id          uuid PRIMARY KEY,
    slug        text NOT NULL UNIQUE,
    version     bigint NOT NULL,
    created_at  bigint NOT NULL,
    body        text NOT NULL
);

CREATE TABLE members (
    user_id         uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    organization_id uuid NOT NULL REFERENCES organizations ON DELETE CASCADE,
    PRIMARY KEY (user_id, organization_id)
);
CREATE INDEX members_of_organization ON members (organization_id);

CREATE TABLE workspaces (
    id              uuid PRIMARY KEY,
    organization_id uuid NOT NULL REFERENCES organizations,
    slug            text NOT NULL,
    head            bigint NOT NULL,
    revision        bigint NOT NULL,
    created_at      bigint NOT NULL,
    body            text NOT NULL,
    UNIQUE (organization_id, slug)
)
-- The head moves with every change: room for that on the same page.
WITH (fillfactor = 50);

CREATE TABLE refresh_tokens (
    hash        bytea PRIMARY KEY,
    family      uuid NOT NULL,
    user_id     uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    expires_at  bigint NOT NULL,
    used        boolean NOT NULL
);
CREATE INDEX refresh_tokens_family ON refresh_tokens (family);
CREATE INDEX refresh_tokens_expiry ON refresh_tokens (expires_at);

-- One row: the fixed key makes a second one impossible.
CREATE TABLE signing_keys (
    slot        bigint PRIMARY KEY CHECK (slot = 1),
    kid         text NOT NULL,
    sealed      bytea NOT NULL,
    created_at  bigint NOT NULL
);

CREATE TABLE revisions (
    workspace_id uuid NOT NULL REFERENCES workspaces ON DELETE CASCADE,
    number       bigint NOT NULL,
    body         text NOT NULL,
    PRIMARY KEY (workspace_id, number)
);

-- The history: what each revision wrote. A body that is NULL is a removal.
CREATE TABLE writes (
    workspace_id uuid NOT NULL,
    number       bigint NOT NULL,
    position     bigint NOT NULL,
    kind         text NOT NULL,
    object_id    uuid NOT NULL,
    body         text,
    PRIMARY KEY (workspace_id, number, position),
    FOREIGN KEY (workspace_id, number) REFERENCES revisions ON DELETE CASCADE
);

CREATE TABLE virtual_hosts (
    id           uuid PRIMARY KEY,
    workspace_id uuid NOT NULL REFERENCES workspaces ON DELETE CASCADE,
    created_at   bigint NOT NULL,
    body         text NOT NULL
);
CREATE INDEX virtual_hosts_of_workspace ON virtual_hosts (workspace_id, created_at, id);

CREATE TABLE upstreams (
    id           uuid PRIMARY KEY,
    workspace_id uuid NOT NULL REFERENCES workspaces ON DELETE CASCADE,
    created_at   bigint NOT NULL,
    body         text NOT NULL
);
CREATE INDEX upstreams_of_workspace ON upstreams (workspace_id, created_at, id);

CREATE TABLE agents (
    id           uuid PRIMARY KEY,
    workspace_id uuid NOT NULL REFERENCES workspaces,
    created_at   bigint NOT NULL,
    body         text NOT NULL,
    status       text NOT NULL
)
-- Every heartbeat rewrites the status.
WITH (fillfactor = 50);
CREATE INDEX agents_of_workspace ON agents (workspace_id, created_at, id);

CREATE TABLE agent_secrets (
    hash        bytea PRIMARY KEY,
    agent_id    uuid NOT NULL REFERENCES agents ON DELETE CASCADE,
    expires_at  bigint
);
CREATE INDEX agent_secrets_of_agent ON agent_secrets (agent_id);
