-- What is delivered to a peer of which nothing is known has a stamp above this: all that were forgotten are not.
ALTER TABLE totals ADD COLUMN floor INTEGER NOT NULL DEFAULT 0;

-- At how many offers a peer has added candidates. Who has some is not idle, and a sweep need not go over them.
ALTER TABLE peers ADD COLUMN parts INTEGER NOT NULL DEFAULT 0;
DELETE FROM parts WHERE candidates = 0;
UPDATE peers SET parts = (SELECT count(*) FROM parts WHERE peer = peers.id);
DROP INDEX peers_idle;
CREATE INDEX peers_idle ON peers (stamp) WHERE offers = 0 AND answers = 0 AND parts = 0;
DROP INDEX parts_by_peer;
