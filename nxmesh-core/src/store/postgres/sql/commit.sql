-- One change of a workspace, in one statement: applied whole, or not at all.
--
-- $1 workspace, $2 its base, $3 its new head
-- revisions:                           $4 number, $5 body
-- their writes, as the history has it: $6 number, $7 position, $8 kind, $9 object, $10 body
-- what each object comes to:           $11 kind, $12 id, $13 created_at, $14 body (NULL: removed)
-- $15 the status of a new agent
-- secrets:                             $16 hash, $17 agent, $18 expires_at
-- if it writes settings:               $19 the last revision that does, $20 fields of the workspace
-- its trail:                           $21 entries of the audit log, $22 events
WITH moved AS (
    UPDATE workspaces SET head = $3, revision = coalesce($19, revision),
        body = CASE WHEN $20 IS NULL THEN body ELSE (body::jsonb || $20::jsonb)::text END
    WHERE id = $1 AND head = $2 RETURNING id
), revision AS (
    INSERT INTO revisions (workspace_id, number, body)
    SELECT moved.id, it.* FROM moved, unnest($4::bigint[], $5::text[]) AS it
), write AS (
    INSERT INTO writes (workspace_id, number, position, kind, object_id, body)
    SELECT moved.id, it.*
    FROM moved, unnest($6::bigint[], $7::bigint[], $8::text[], $9::uuid[], $10::text[]) AS it
), object AS MATERIALIZED (
    SELECT moved.id AS workspace_id, it.*
    FROM moved, unnest($11::text[], $12::uuid[], $13::bigint[], $14::text[])
        AS it (kind, id, created_at, body)
), put_virtual_host AS (
    INSERT INTO virtual_hosts (id, workspace_id, created_at, body)
    SELECT id, workspace_id, created_at, body FROM object
    WHERE kind = 'virtual_host' AND body IS NOT NULL
    ON CONFLICT (id) DO UPDATE SET body = excluded.body
), delete_virtual_host AS (
    DELETE FROM virtual_hosts USING object
    WHERE virtual_hosts.id = object.id AND object.kind = 'virtual_host' AND object.body IS NULL
), put_upstream AS (
    INSERT INTO upstreams (id, workspace_id, created_at, body)
    SELECT id, workspace_id, created_at, body FROM object
    WHERE kind = 'upstream' AND body IS NOT NULL
    ON CONFLICT (id) DO UPDATE SET body = excluded.body
), delete_upstream AS (
    DELETE FROM upstreams USING object
    WHERE upstreams.id = object.id AND object.kind = 'upstream' AND object.body IS NULL
), put_agent AS (
    INSERT INTO agents (id, workspace_id, created_at, body, status)
    SELECT id, workspace_id, created_at, body, $15 FROM object
    WHERE kind = 'agent' AND body IS NOT NULL
    ON CONFLICT (id) DO UPDATE SET body = excluded.body
), delete_agent AS (
    DELETE FROM agents USING object
    WHERE agents.id = object.id AND object.kind = 'agent' AND object.body IS NULL
), secret AS (
    INSERT INTO agent_secrets (hash, agent_id, expires_at)
    SELECT it.* FROM moved, unnest($16::bytea[], $17::uuid[], $18::bigint[]) AS it
), recorded AS (
    SELECT record_trail($21, $22) AS done FROM moved
)
SELECT EXISTS (SELECT FROM moved), EXISTS (SELECT FROM workspaces WHERE id = $1),
    (SELECT max(done) FROM recorded)
