-- $3 how many, $4 how many to leave out
, page AS (
    SELECT name, offers, peers FROM (
        -- NOT IN is looked up for each row in the order of the index; a join would sort them all.
        (SELECT name, offers, peers FROM rendezvous_topics
         WHERE realm = $1 AND topic NOT IN (SELECT topic FROM touched)
         ORDER BY {order} head, name LIMIT $3 + $4)
        UNION ALL SELECT name, offers, peers FROM touched WHERE offers > 0
    ) AS it ORDER BY {order} name LIMIT $3 OFFSET $4
)
SELECT total, name, offers, peers FROM (
    SELECT (coalesce((SELECT topics FROM rendezvous_realms WHERE realm = $1), 0)
        + coalesce((SELECT sum((offers > 0)::int - is_known::int) FROM touched), 0))::bigint AS total
) AS counted LEFT JOIN page ON true ORDER BY {order} name
