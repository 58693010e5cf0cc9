-- The oldest revision that is kept; 0 as long as none was dropped.
ALTER TABLE workspaces ADD COLUMN horizon INTEGER NOT NULL DEFAULT 0;

-- What a dropped revision wrote stays if nothing later wrote the same object: so it belongs to
-- the workspace, and not to the revision any more.
CREATE TABLE writes_that_stay (
    workspace_id BLOB NOT NULL REFERENCES workspaces ON DELETE CASCADE,
    number       INTEGER NOT NULL,
    position     INTEGER NOT NULL,
    kind         TEXT NOT NULL,
    object_id    BLOB NOT NULL,
    body         TEXT,
    PRIMARY KEY (workspace_id, number, position)
) WITHOUT ROWID;
INSERT INTO writes_that_stay (workspace_id, number, position, kind, object_id, body)
SELECT workspace_id, number, position, kind, object_id, body FROM writes;
DROP TABLE writes;
ALTER TABLE writes_that_stay RENAME TO writes;
