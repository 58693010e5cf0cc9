-- Drops the oldest revisions of a workspace, and folds what they wrote: of each object only its
-- last write stays. Only so much at a time that others need not wait. What agents are on, or may be
-- taken back to, stays.
--
-- $1 workspace, $2 how many revisions to keep, $3 how many revisions or writes to take at a time
WITH staged AS (
    SELECT (body::json -> 'settings' ->> 'staged_since')::bigint AS since
    FROM workspaces WHERE id = $1
), oldest AS (
    -- One of these that is NULL does not count.
    SELECT least(
        (SELECT min(revision) FROM rollouts WHERE workspace_id = $1 AND state = 'under_way'),
        coalesce((
            SELECT revision FROM rollouts
            WHERE workspace_id = $1 AND state = 'completed' AND staged_since = since
                AND number = (
                    SELECT max(number) FROM rollouts
                    WHERE workspace_id = $1 AND state = 'completed'
                )
        ), nullif(since, 0))
    ) AS number
    FROM staged
), moved AS (
    UPDATE workspaces SET horizon = least(
        head - $2 + 1,
        oldest.number,
        greatest(horizon, 1) + $3,
        greatest(greatest(horizon, 1) + 1, coalesce((
            SELECT writes.number FROM writes WHERE workspace_id = $1 AND writes.number > horizon
            ORDER BY writes.number, position LIMIT 1 OFFSET $3
        ), head))
    )
    FROM oldest
    WHERE id = $1 AND least(head - $2 + 1, oldest.number) > greatest(horizon, 1)
    RETURNING id, horizon
), dropped AS (
    DELETE FROM revisions USING moved
    WHERE workspace_id = moved.id AND number < moved.horizon RETURNING number
), ranked AS (
    SELECT number, position, writes.body IS NULL AS removed, row_number() OVER (
        PARTITION BY kind, object_id ORDER BY number DESC, position DESC
    ) AS age
    FROM moved JOIN writes ON workspace_id = moved.id AND number <= moved.horizon
), folded AS (
    DELETE FROM writes USING ranked
    WHERE workspace_id = $1 AND writes.number = ranked.number
        AND writes.position = ranked.position AND (age > 1 OR removed)
)
SELECT count(*) FROM dropped
