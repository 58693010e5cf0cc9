-- What a workspace was made with was not in its history: it is, before the first revision, where
-- nothing was written since that would say otherwise.
INSERT INTO writes (workspace_id, number, position, kind, object_id, body)
SELECT id, 0, 0, 'settings', id, body::json ->> 'settings' FROM workspaces
WHERE body::json ->> 'settings' <> '{"nginx_directives":{},"env_vars":{}}'
    AND NOT EXISTS (SELECT 1 FROM writes WHERE workspace_id = workspaces.id AND kind = 'settings');
