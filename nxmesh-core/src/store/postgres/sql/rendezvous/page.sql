-- A page of the offers of topics, whole, and how many the first of them has. What listed.sql asks for, and:
-- $7 how many to leave out, $8 the realm
WITH listed AS (
{listed}
), page AS (
    SELECT last_seen, seq FROM listed ORDER BY last_seen DESC, seq DESC OFFSET $7
)
SELECT counted.offers AS total, o.*
FROM rendezvous_counts($8, ($1::uuid[])[1:1], $2, NULL) AS counted
LEFT JOIN page ON true LEFT JOIN rendezvous_offers o ON o.seq = page.seq
ORDER BY page.last_seen DESC, page.seq DESC
