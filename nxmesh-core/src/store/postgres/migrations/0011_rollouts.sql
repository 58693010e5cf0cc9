-- Revisions on their way to agents. One of a workspace at a time is under way.
CREATE TABLE rollouts (
    id           uuid PRIMARY KEY,
    workspace_id uuid NOT NULL REFERENCES workspaces ON DELETE CASCADE,
    number       bigint NOT NULL,
    version      bigint NOT NULL,
    state        text NOT NULL,
    revision     bigint NOT NULL,
    staged_since bigint NOT NULL,
    body         text NOT NULL
);
CREATE UNIQUE INDEX rollouts_of_workspace ON rollouts (workspace_id, number);
CREATE UNIQUE INDEX rollouts_under_way ON rollouts (workspace_id) WHERE state = 'under_way';
