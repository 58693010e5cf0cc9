-- All of a workspace, at one moment.
SELECT 'workspace' AS kind, head, body FROM workspaces WHERE id = $1
UNION ALL
SELECT 'upstream', NULL, body FROM upstreams WHERE workspace_id = $1
UNION ALL
SELECT 'virtual_host', NULL, body FROM virtual_hosts WHERE workspace_id = $1
UNION ALL
SELECT 'agent', NULL, body FROM agents WHERE workspace_id = $1
