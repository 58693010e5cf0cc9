-- $3 how many, $4 how many to leave out; $5 the prefix in lower case, $6 what has room of it in an
-- index, $7 the first text of such a length that is above all that begin so
, found AS MATERIALIZED (
    SELECT name, offers, peers FROM rendezvous_topics
    WHERE realm = $1 AND folded >= $6 AND folded < $7 AND starts_with(lower(name), $5)
        AND topic NOT IN (SELECT topic FROM touched)
    UNION ALL
    SELECT name, offers, peers FROM touched WHERE offers > 0 AND starts_with(lower(name), $5)
), page AS (
    SELECT name, offers, peers FROM found ORDER BY {order} name LIMIT $3 OFFSET $4
)
SELECT total, name, offers, peers FROM (SELECT count(*) AS total FROM found) AS counted
LEFT JOIN page ON true ORDER BY {order} name
