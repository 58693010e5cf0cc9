-- Who did what. Outlives what it tells of.
CREATE TABLE audit_entries (
    id              uuid PRIMARY KEY,
    organization_id uuid NOT NULL,
    user_id         uuid NOT NULL,
    action          text NOT NULL,
    object_id       uuid NOT NULL,
    created_at      bigint NOT NULL,
    body            text NOT NULL
);
CREATE INDEX audit_entries_of_organization ON audit_entries (organization_id, created_at, id);
CREATE INDEX audit_entries_age ON audit_entries (created_at);

-- What happened. An event has its id only once it can be read, so that ids are in the order in
-- which events can be read: transactions do not end in the order in which they began.
CREATE TABLE events (
    recorded        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id              bigint UNIQUE,
    body            text NOT NULL
);
CREATE INDEX events_without_id ON events (recorded) WHERE id IS NULL;
CREATE SEQUENCE event_ids;

-- Records what a change leaves behind, as JSON: $1 entries of the audit log, $2 bodies of events.
CREATE FUNCTION record_trail(text, text) RETURNS bigint LANGUAGE sql AS $$
    INSERT INTO audit_entries (id, organization_id, user_id, action, object_id, created_at, body)
    SELECT * FROM json_to_recordset($1::json) AS it (
        id uuid, organization_id uuid, user_id uuid, action text, object_id uuid,
        created_at bigint, body text
    );
    INSERT INTO events (body) SELECT * FROM json_array_elements_text($2::json);
    SELECT 1::bigint;
$$;
