-- The oldest revision that is kept; 0 as long as none was dropped.
ALTER TABLE workspaces ADD COLUMN horizon bigint NOT NULL DEFAULT 0;

-- What a dropped revision wrote stays if nothing later wrote the same object: so it belongs to
-- the workspace, and not to the revision any more.
ALTER TABLE writes DROP CONSTRAINT writes_workspace_id_number_fkey;
ALTER TABLE writes ADD FOREIGN KEY (workspace_id) REFERENCES workspaces ON DELETE CASCADE;
