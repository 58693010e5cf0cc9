-- Revisions on their way to agents. One of a workspace at a time is under way.
CREATE TABLE rollouts (
    id           BLOB PRIMARY KEY,
    workspace_id BLOB NOT NULL REFERENCES workspaces ON DELETE CASCADE,
    number       INTEGER NOT NULL,
    version      INTEGER NOT NULL,
    state        TEXT NOT NULL,
    revision     INTEGER NOT NULL,
    staged_since INTEGER NOT NULL,
    body         TEXT NOT NULL
) WITHOUT ROWID;
CREATE UNIQUE INDEX rollouts_of_workspace ON rollouts (workspace_id, number);
CREATE UNIQUE INDEX rollouts_under_way ON rollouts (workspace_id) WHERE state = 'under_way';
