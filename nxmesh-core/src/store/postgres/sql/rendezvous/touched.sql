-- Topics of the realm $1 whose figures are not those that are kept: what was not added up yet
-- is added, and what has expired at $2 and was not swept is taken off.
WITH changed AS MATERIALIZED (
    SELECT topic, max(name) AS name, sum(offers) AS offers, sum(peers) AS peers
    FROM rendezvous_changes WHERE realm = $1 AND topic IS NOT NULL GROUP BY topic
), expired AS MATERIALIZED (
    SELECT topic, sum(entries) AS offers, sum(1 - live.one) AS peers
    FROM (
        SELECT topic, pair, count(*) AS entries FROM rendezvous_entries
        WHERE realm = $1 AND expires_at <= $2 GROUP BY topic, pair
    ) AS gone CROSS JOIN LATERAL (
        SELECT count(*) AS one FROM (
            SELECT FROM rendezvous_entries e
            WHERE e.pair = gone.pair AND e.expires_at > $2 LIMIT 1
        ) AS any_of_them
    ) AS live GROUP BY topic
), touched AS MATERIALIZED (
    SELECT topic, coalesce(known.name, changed.name) AS name, known.offers IS NOT NULL AS is_known,
        (coalesce(known.offers, 0) + coalesce(changed.offers, 0) - coalesce(expired.offers, 0))::bigint
            AS offers,
        (coalesce(known.peers, 0) + coalesce(changed.peers, 0) - coalesce(expired.peers, 0))::bigint
            AS peers
    FROM changed FULL JOIN expired USING (topic) LEFT JOIN rendezvous_topics known USING (topic)
)
