-- Ids are 16 bytes, times are microseconds since 1970, bodies are JSON.

CREATE TABLE users (
    id          BLOB PRIMARY KEY,
    email       TEXT NOT NULL,
    email_key   TEXT NOT NULL UNIQUE,
    password    TEXT NOT NULL,
    created_at  INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE organizations (
    id          BLOB PRIMARY KEY,
    slug        TEXT NOT NULL UNIQUE,
    version     INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    body        TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE members (
    user_id         BLOB NOT NULL REFERENCES users ON DELETE CASCADE,
    organization_id BLOB NOT NULL REFERENCES organizations ON DELETE CASCADE,
    PRIMARY KEY (user_id, organization_id)
) WITHOUT ROWID;
CREATE INDEX members_of_organization ON members (organization_id);

CREATE TABLE workspaces (
    id              BLOB PRIMARY KEY,
    organization_id BLOB NOT NULL REFERENCES organizations,
    slug            TEXT NOT NULL,
    head            INTEGER NOT NULL,
    revision        INTEGER NOT NULL,
    created_at      INTEGER NOT NULL,
    body            TEXT NOT NULL,
    UNIQUE (organization_id, slug)
) WITHOUT ROWID;

CREATE TABLE refresh_tokens (
    hash        BLOB PRIMARY KEY,
    family      BLOB NOT NULL,
    user_id     BLOB NOT NULL REFERENCES users ON DELETE CASCADE,
    expires_at  INTEGER NOT NULL,
    used        INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX refresh_tokens_family ON refresh_tokens (family);
CREATE INDEX refresh_tokens_expiry ON refresh_tokens (expires_at);

-- One row: the fixed key makes a second one impossible.
CREATE TABLE signing_keys (
    slot        INTEGER PRIMARY KEY CHECK (slot = 1),
    kid         TEXT NOT NULL,
    sealed      BLOB NOT NULL,
    created_at  INTEGER NOT NULL
);

CREATE TABLE revisions (
    workspace_id BLOB NOT NULL REFERENCES workspaces ON DELETE CASCADE,
    number       INTEGER NOT NULL,
    body         TEXT NOT NULL,
    PRIMARY KEY (workspace_id, number)
) WITHOUT ROWID;

-- The history: what each revision wrote. A body that is NULL is a removal.
CREATE TABLE writes (
    workspace_id BLOB NOT NULL,
    number       INTEGER NOT NULL,
    position     INTEGER NOT NULL,
    kind         TEXT NOT NULL,
    object_id    BLOB NOT NULL,
    body         TEXT,
    PRIMARY KEY (workspace_id, number, position),
    FOREIGN KEY (workspace_id, number) REFERENCES revisions ON DELETE CASCADE
) WITHOUT ROWID;

CREATE TABLE virtual_hosts (
    id           BLOB PRIMARY KEY,
    workspace_id BLOB NOT NULL REFERENCES workspaces ON DELETE CASCADE,
    created_at   INTEGER NOT NULL,
    body         TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX virtual_hosts_of_workspace ON virtual_hosts (workspace_id, created_at, id);

CREATE TABLE upstreams (
    id           BLOB PRIMARY KEY,
    workspace_id BLOB NOT NULL REFERENCES workspaces ON DELETE CASCADE,
    created_at   INTEGER NOT NULL,
    body         TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX upstreams_of_workspace ON upstreams (workspace_id, created_at, id);

CREATE TABLE agents (
    id           BLOB PRIMARY KEY,
    workspace_id BLOB NOT NULL REFERENCES workspaces,
    created_at   INTEGER NOT NULL,
    body         TEXT NOT NULL,
    status       TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX agents_of_workspace ON agents (workspace_id, created_at, id);

CREATE TABLE agent_secrets (
    hash        BLOB PRIMARY KEY,
    agent_id    BLOB NOT NULL REFERENCES agents ON DELETE CASCADE,
    expires_at  INTEGER
) WITHOUT ROWID;
CREATE INDEX agent_secrets_of_agent ON agent_secrets (agent_id);
