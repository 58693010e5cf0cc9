-- $1 organization, $2 its version, $3 whether its workspaces go with it, $4 and $5 the trail
-- Held first: what is in an organization that has moved on must not go.
WITH held AS MATERIALIZED (
    SELECT id FROM organizations WHERE id = $1 AND version = $2 FOR UPDATE
), inside AS MATERIALIZED (
    SELECT workspaces.id FROM workspaces JOIN held ON held.id = organization_id WHERE $3
), agents_gone AS (
    DELETE FROM agents USING inside WHERE workspace_id = inside.id
), workspaces_gone AS (
    DELETE FROM workspaces USING inside WHERE workspaces.id = inside.id
), deleted AS (
    DELETE FROM organizations USING held WHERE organizations.id = held.id RETURNING held.id
), recorded AS (
    SELECT record_trail($4, $5) AS done FROM deleted
)
SELECT EXISTS (SELECT FROM deleted), EXISTS (SELECT FROM organizations WHERE id = $1),
    (SELECT max(done) FROM recorded), ARRAY(SELECT id FROM inside)
