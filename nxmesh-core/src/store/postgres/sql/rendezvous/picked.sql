-- The offers $1 that are still open at $2, whole, and how many the topic $3 of the realm $4 has
SELECT counted.offers AS total, o.*
FROM rendezvous_counts($4, ARRAY[$3::uuid], $2, NULL) AS counted
LEFT JOIN rendezvous_offers o ON o.seq = ANY ($1) AND o.answerer IS NULL AND o.expires_at > $2
ORDER BY o.last_seen DESC, o.seq DESC
