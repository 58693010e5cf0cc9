-- $1 workspace: the rollout that is under way, the newest that was completed, and the newest
SELECT workspaces.body, rollouts.body, rollouts.number
FROM workspaces LEFT JOIN rollouts ON rollouts.workspace_id = workspaces.id AND (
    rollouts.state = 'under_way'
    OR rollouts.number = (SELECT max(number) FROM rollouts WHERE workspace_id = $1)
    OR rollouts.number = (
        SELECT max(number) FROM rollouts WHERE workspace_id = $1 AND state = 'completed'
    )
)
WHERE workspaces.id = $1 ORDER BY rollouts.number
