-- $1 workspace, $2 its own revision, $3 whether its agents go with it, $4 and $5 the trail
-- Held first: the agents of a workspace that has moved on must not go.
WITH held AS MATERIALIZED (
    SELECT id FROM workspaces WHERE id = $1 AND revision = $2 FOR UPDATE
), agents_gone AS (
    DELETE FROM agents USING held WHERE workspace_id = held.id AND $3
), deleted AS (
    DELETE FROM workspaces USING held WHERE workspaces.id = held.id RETURNING held.id
), recorded AS (
    SELECT record_trail($4, $5) AS done FROM deleted
)
SELECT EXISTS (SELECT FROM deleted), EXISTS (SELECT FROM workspaces WHERE id = $1),
    (SELECT max(done) FROM recorded)
