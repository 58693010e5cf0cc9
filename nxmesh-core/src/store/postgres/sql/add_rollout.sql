-- $1 id, $2 workspace, $3 state, $4 revision, $5 staged_since, $6 body, $7 how many are kept
-- its trail: $8 and $9
WITH added AS (
    INSERT INTO rollouts (id, workspace_id, number, version, state, revision, staged_since, body)
    SELECT $1, id, 1 + coalesce((SELECT max(number) FROM rollouts WHERE workspace_id = $2), 0),
        1, $3, $4, $5, $6
    FROM workspaces WHERE id = $2
    ON CONFLICT DO NOTHING
    RETURNING workspace_id, number
), dropped AS (
    DELETE FROM rollouts USING added
    WHERE rollouts.workspace_id = added.workspace_id AND rollouts.number <= added.number - $7
        AND rollouts.number <> coalesce((
            SELECT max(number) FROM rollouts WHERE workspace_id = $2 AND state = 'completed'
        ), 0)
)
SELECT record_trail($8, $9) FROM added
