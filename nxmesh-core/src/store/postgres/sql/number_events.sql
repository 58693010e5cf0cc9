-- Gives ids to the events that can be read and have none yet. Servers take turns: what one of
-- them numbers can be read before the next one begins. Ids that a server took for events that
-- another one has numbered meanwhile are left out.
WITH turn AS MATERIALIZED (
    SELECT pg_advisory_xact_lock(x'6e786d6576'::bigint)
), waiting AS MATERIALIZED (
    SELECT recorded FROM events, turn WHERE id IS NULL ORDER BY recorded LIMIT 10000
), numbered AS MATERIALIZED (
    SELECT recorded, nextval('event_ids') AS id FROM waiting
)
UPDATE events SET id = numbered.id FROM numbered
WHERE events.recorded = numbered.recorded AND events.id IS NULL
