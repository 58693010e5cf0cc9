-- Counts are kept, not counted: each is changed with the rows it counts.
CREATE TABLE totals (id INTEGER PRIMARY KEY CHECK (id = 1), offers INTEGER NOT NULL);
INSERT INTO totals VALUES (1, 0);

CREATE TABLE realms (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    offers INTEGER NOT NULL DEFAULT 0,
    topics INTEGER NOT NULL DEFAULT 0
);

-- Who has offers, has answered some, or was reached by something: with the last stamp given.
CREATE TABLE peers (
    id INTEGER PRIMARY KEY,
    realm INTEGER NOT NULL REFERENCES realms (id),
    name TEXT NOT NULL,
    offers INTEGER NOT NULL DEFAULT 0,
    answers INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL DEFAULT 0,
    stamp INTEGER NOT NULL DEFAULT 0,
    UNIQUE (realm, name)
);
CREATE INDEX peers_idle ON peers (stamp) WHERE offers = 0 AND answers = 0;

CREATE TABLE offers (
    seq INTEGER PRIMARY KEY,
    realm INTEGER NOT NULL REFERENCES realms (id),
    id TEXT NOT NULL,
    peer INTEGER NOT NULL REFERENCES peers (id),
    created_at INTEGER NOT NULL,
    last_seen INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    answerer INTEGER REFERENCES peers (id),
    answered_at INTEGER,
    matched_topics TEXT,
    wrong_secrets INTEGER NOT NULL DEFAULT 0,
    locked_until INTEGER NOT NULL DEFAULT 0,
    topics TEXT NOT NULL,
    info TEXT,
    secret BLOB,
    sdp TEXT NOT NULL,
    answer_sdp TEXT,
    UNIQUE (realm, id)
);
CREATE INDEX offers_by_peer ON offers (peer, last_seen);
CREATE INDEX offers_by_answerer ON offers (answerer, answered_at) WHERE answerer IS NOT NULL;
CREATE INDEX offers_answered ON offers (peer, answered_at) WHERE answered_at IS NOT NULL;
CREATE INDEX offers_by_expiry ON offers (expires_at);

-- Topics that have open offers.
CREATE TABLE topics (
    id INTEGER PRIMARY KEY,
    realm INTEGER NOT NULL REFERENCES realms (id),
    name TEXT NOT NULL,
    -- The name with ASCII letters in lower case.
    folded TEXT NOT NULL,
    offers INTEGER NOT NULL,
    peers INTEGER NOT NULL,
    UNIQUE (realm, name)
);
CREATE INDEX topics_by_peers ON topics (realm, peers DESC, name, offers);
CREATE INDEX topics_by_prefix ON topics (realm, folded, name, peers, offers);

CREATE TABLE topic_peers (
    topic INTEGER NOT NULL,
    peer INTEGER NOT NULL,
    offers INTEGER NOT NULL,
    PRIMARY KEY (topic, peer)
) WITHOUT ROWID;

-- Open offers by topic, in the order in which they are listed.
CREATE TABLE open_offers (
    topic INTEGER NOT NULL,
    last_seen INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    peer INTEGER NOT NULL,
    PRIMARY KEY (topic, last_seen DESC, seq DESC)
) WITHOUT ROWID;

-- Appended, never rewritten. One that is for nobody yet has no recipient.
CREATE TABLE candidates (
    seq INTEGER PRIMARY KEY,
    offer INTEGER NOT NULL,
    peer INTEGER NOT NULL,
    offerer INTEGER NOT NULL,
    recipient INTEGER,
    stamp INTEGER NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX candidates_by_offer ON candidates (offer, offerer, stamp);
CREATE INDEX candidates_by_recipient ON candidates (recipient, stamp) WHERE recipient IS NOT NULL;

-- How many candidates a peer added to an offer.
CREATE TABLE parts (
    offer INTEGER NOT NULL,
    peer INTEGER NOT NULL,
    candidates INTEGER NOT NULL,
    PRIMARY KEY (offer, peer)
) WITHOUT ROWID;
CREATE INDEX parts_by_peer ON parts (peer);

CREATE TABLE nonces (
    key TEXT NOT NULL,
    nonce BLOB NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (key, nonce)
) WITHOUT ROWID;
CREATE INDEX nonces_by_expiry ON nonces (expires_at);
