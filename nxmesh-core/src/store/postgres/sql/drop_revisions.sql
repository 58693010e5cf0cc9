-- Drops the oldest revisions of a workspace, and folds what they wrote: of each object only its
-- last write stays. Only so much at a time that others need not wait.
--
-- $1 workspace, $2 how many revisions to keep, $3 how many revisions or writes to take at a time
WITH moved AS (
    UPDATE workspaces SET horizon = least(
        head - $2 + 1,
        greatest(horizon, 1) + $3,
        greatest(greatest(horizon, 1) + 1, coalesce((
            SELECT number FROM writes WHERE workspace_id = $1 AND number > horizon
            ORDER BY number, position LIMIT 1 OFFSET $3
        ), head))
    )
    WHERE id = $1 AND head - $2 + 1 > greatest(horizon, 1)
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
