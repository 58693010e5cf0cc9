-- Open offers of topics, the one last seen first: $1 topics, $2 now, $3 whose are left out, below $4 (last seen)
-- and $5 (number), $6 how many
SELECT DISTINCT ON (last_seen, seq) last_seen, seq, peer
FROM unnest($1::uuid[]) AS asked (topic) CROSS JOIN LATERAL (
    SELECT last_seen, seq, peer FROM rendezvous_entries
    WHERE topic = asked.topic AND (last_seen, seq) < ($4, $5)
        AND expires_at > $2 AND owner IS DISTINCT FROM $3
    ORDER BY last_seen DESC, seq DESC LIMIT $6
) AS found
ORDER BY last_seen DESC, seq DESC LIMIT $6
