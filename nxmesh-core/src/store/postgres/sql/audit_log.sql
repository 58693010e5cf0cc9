-- $1 organization, $2 from, $3 to, $4 user, $5 action, $6 object, $7 limit, $8 offset
WITH matching AS NOT MATERIALIZED (
    SELECT created_at, id, body FROM audit_entries
    WHERE organization_id = $1
        AND ($2::bigint IS NULL OR created_at >= $2) AND ($3::bigint IS NULL OR created_at < $3)
        AND ($4::uuid IS NULL OR user_id = $4) AND ($5::text IS NULL OR action = $5)
        AND ($6::uuid IS NULL OR object_id = $6)
), page AS (
    SELECT * FROM matching ORDER BY created_at, id LIMIT $7 OFFSET $8
)
SELECT total, page.body FROM (SELECT count(*) AS total FROM matching) AS all_of_them
LEFT JOIN page ON true ORDER BY created_at, id
