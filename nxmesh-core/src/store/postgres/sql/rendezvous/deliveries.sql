-- What reached the peer $1 after the stamp $2, $3 at most, of offers that are live at $4
SELECT * FROM (
    (SELECT answered_at AS stamp, id, answered_by AS peer, answer_sdp AS body, matched_topics,
        NULL::boolean AS offerer
     FROM rendezvous_offers WHERE owner = $1 AND answered_at > $2 AND expires_at > $4
     ORDER BY answered_at LIMIT $3)
    UNION ALL
    (SELECT c.stamp, o.id, c.peer, c.body, NULL, c.offerer
     FROM rendezvous_candidates c JOIN rendezvous_offers o ON o.seq = c.offer
     WHERE c.recipient = $1 AND c.stamp > $2 AND o.expires_at > $4
     ORDER BY c.stamp LIMIT $3)
) AS delivered ORDER BY stamp LIMIT $3
