-- The candidates of the other side of the offer $1, to the peer $2, after the stamp $3, at $4
SELECT coalesce($2 IN (o.owner, o.answerer), false) AS has_part, c.peer, c.offerer, c.body, c.stamp
FROM rendezvous_offers o LEFT JOIN rendezvous_candidates c
    ON c.offer = o.seq AND c.recipient IS NOT NULL AND c.stamp > $3
    AND c.author = CASE $2 WHEN o.owner THEN o.answerer WHEN o.answerer THEN o.owner END
    AND c.offerer = (o.owner <> $2)
WHERE o.key = $1 AND o.expires_at > $4 ORDER BY c.stamp
