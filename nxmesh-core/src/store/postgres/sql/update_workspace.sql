-- $1 workspace, $2 its base, $3 its new head, $4 slug, $5 body, $9 its own revision
-- $6 the revision, $7 and $8 kind and body of its one write, $10 and $11 its trail
WITH moved AS (
    UPDATE workspaces SET head = $3, revision = $9, slug = $4, body = $5
    WHERE id = $1 AND head = $2 RETURNING id
), revision AS (
    INSERT INTO revisions (workspace_id, number, body) SELECT id, $3, $6 FROM moved
), write AS (
    INSERT INTO writes (workspace_id, number, position, kind, object_id, body)
    SELECT id, $3, 0, $7, id, $8 FROM moved
), recorded AS (
    SELECT record_trail($10, $11) AS done FROM moved
)
SELECT EXISTS (SELECT FROM moved), EXISTS (SELECT FROM workspaces WHERE id = $1),
    (SELECT max(done) FROM recorded)
