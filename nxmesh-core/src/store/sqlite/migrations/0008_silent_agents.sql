-- When an agent was last heard of, as long as a server holds its stream. The servers that held
-- streams before this are gone, so whoever does not come back counts as unheard of.
ALTER TABLE agents ADD COLUMN heard_at INTEGER;
UPDATE agents SET heard_at = 0 WHERE json_extract(status, '$.connected');
