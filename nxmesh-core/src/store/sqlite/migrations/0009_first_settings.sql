-- What a workspace was made with was not in its history: it is, before the first revision, where
-- nothing was written since that would say otherwise.
INSERT INTO writes (workspace_id, number, position, kind, object_id, body)
SELECT id, 0, 0, 'settings', id, json_extract(body, '$.settings') FROM workspaces
WHERE json_extract(body, '$.settings') <> '{"nginx_directives":{},"env_vars":{}}'
    AND NOT EXISTS (SELECT 1 FROM writes WHERE workspace_id = workspaces.id AND kind = 'settings');
