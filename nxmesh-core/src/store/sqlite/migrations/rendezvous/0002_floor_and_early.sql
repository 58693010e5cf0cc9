-- What is delivered to a peer of which nothing is known has a stamp above this: all that were forgotten are not.
ALTER TABLE totals ADD COLUMN floor INTEGER NOT NULL DEFAULT 0;

-- At how many offers of others, which nobody has answered, a peer has added candidates. Who has some is not idle,
-- and a sweep need not go over them.
ALTER TABLE peers ADD COLUMN early INTEGER NOT NULL DEFAULT 0;
DELETE FROM parts WHERE candidates = 0;
UPDATE peers SET early = (
    SELECT count(*) FROM parts JOIN offers ON offers.seq = parts.offer
    WHERE parts.peer = peers.id AND offers.peer <> peers.id AND offers.answerer IS NULL
);
DROP INDEX peers_idle;
CREATE INDEX peers_idle ON peers (stamp) WHERE offers = 0 AND answers = 0 AND early = 0;
DROP INDEX parts_by_peer;
