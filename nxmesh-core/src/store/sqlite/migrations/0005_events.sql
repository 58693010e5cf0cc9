-- Who did what. Outlives what it tells of.
CREATE TABLE audit_entries (
    id              BLOB PRIMARY KEY,
    organization_id BLOB NOT NULL,
    user_id         BLOB NOT NULL,
    action          TEXT NOT NULL,
    object_id       BLOB NOT NULL,
    created_at      INTEGER NOT NULL,
    body            TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX audit_entries_of_organization ON audit_entries (organization_id, created_at, id);
CREATE INDEX audit_entries_age ON audit_entries (created_at);

-- What happened, in order; an id is never used again.
CREATE TABLE events (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    body            TEXT NOT NULL
);
