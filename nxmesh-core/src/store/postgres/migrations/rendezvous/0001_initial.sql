-- What rendezvous keeps. Texts may have any character; U+0000, which Postgres does not take, is written as two
-- others (text.rs). An index has room for short keys only: realms, peers, ids and topics are found by a hash
-- of theirs (keys.rs).

-- Of two offers that are made the later one has the higher number.
CREATE SEQUENCE rendezvous_numbers;

CREATE TABLE rendezvous_offers (
    seq            bigint PRIMARY KEY,
    -- of the realm and the id
    key            uuid NOT NULL UNIQUE,
    realm          uuid NOT NULL,
    owner          uuid NOT NULL,
    realm_name     text NOT NULL,
    id             text NOT NULL,
    peer           text NOT NULL,
    sdp            text NOT NULL,
    topics         text[] NOT NULL,
    info           text,
    secret         bytea,
    created_at     bigint NOT NULL,
    last_seen      bigint NOT NULL,
    expires_at     bigint NOT NULL,
    answerer       uuid,
    answered_by    text,
    answer_sdp     text,
    -- a stamp of the owner
    answered_at    bigint,
    matched_topics text[],
    wrong_secrets  bigint NOT NULL DEFAULT 0,
    locked_until   bigint NOT NULL DEFAULT 0
);
CREATE INDEX rendezvous_offers_of_owner ON rendezvous_offers (owner, answered_at);
CREATE INDEX rendezvous_offers_answered ON rendezvous_offers (answerer) WHERE answerer IS NOT NULL;
CREATE INDEX rendezvous_offers_expiry ON rendezvous_offers (expires_at, seq);

-- Open offers by topic, until they are answered or swept. No two indexes begin with the same column: a plan that
-- is made while there is next to nothing cannot take the wrong one.
CREATE TABLE rendezvous_entries (
    seq            bigint NOT NULL,
    topic          uuid NOT NULL,
    -- of the topic and the owner
    pair           uuid NOT NULL,
    realm          uuid NOT NULL,
    owner          uuid NOT NULL,
    peer           text NOT NULL,
    last_seen      bigint NOT NULL,
    expires_at     bigint NOT NULL,
    PRIMARY KEY (seq, topic)
);
CREATE INDEX rendezvous_entries_newest ON rendezvous_entries (topic, last_seen, seq);
CREATE INDEX rendezvous_entries_of_pair ON rendezvous_entries (pair, expires_at);
CREATE INDEX rendezvous_entries_of_realm ON rendezvous_entries (realm, expires_at);

CREATE TABLE rendezvous_candidates (
    seq            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    offer          bigint NOT NULL,
    author         uuid NOT NULL,
    peer           text NOT NULL,
    offerer        boolean NOT NULL,
    body           text NOT NULL,
    -- whom it was delivered to, and when in their order
    recipient      uuid,
    stamp          bigint NOT NULL
);
CREATE INDEX rendezvous_candidates_of_offer ON rendezvous_candidates (offer, author, seq);
CREATE INDEX rendezvous_candidates_delivered ON rendezvous_candidates (recipient, stamp)
    WHERE recipient IS NOT NULL;

-- How far the figures of a peer were counted up. Whoever counts holds the row until what it
-- counted can be read; so does whoever adds or takes away an entry of the peer.
CREATE TABLE rendezvous_peers (
    peer           uuid PRIMARY KEY,
    -- of the last delivery to it
    stamp          bigint NOT NULL DEFAULT 0,
    -- of the last offer it made
    made           bigint NOT NULL DEFAULT 0,
    -- a clock beyond both: from then on they need not be known
    kept_until     bigint NOT NULL
);
CREATE INDEX rendezvous_peers_kept ON rendezvous_peers (kept_until);

-- Topics that have entries, and how much there is in them, but for what rendezvous_changes says.
CREATE TABLE rendezvous_topics (
    topic          uuid PRIMARY KEY,
    realm          uuid NOT NULL,
    name           text COLLATE "C" NOT NULL,
    -- what has room in an index of the name, and of it in lower case
    head           text COLLATE "C" NOT NULL,
    folded         text COLLATE "C" NOT NULL,
    offers         bigint NOT NULL,
    peers          bigint NOT NULL
);
CREATE INDEX rendezvous_topics_by_name ON rendezvous_topics (realm, head);
CREATE INDEX rendezvous_topics_by_prefix ON rendezvous_topics (realm, folded);
CREATE INDEX rendezvous_topics_by_peers ON rendezvous_topics (realm, peers DESC, head);

-- How many offers and topics there are in a realm, with the same exception. The row of the
-- realm that is all zeros counts those of all.
CREATE TABLE rendezvous_realms (
    realm          uuid PRIMARY KEY,
    offers         bigint NOT NULL,
    topics         bigint NOT NULL
);

-- What is to be added to the figures above: for a topic its entries and the peers that have some; without a
-- topic the offers of the realm. So a change only appends, and those of one topic do not wait
-- for each other; rendezvous_fold adds it up a moment later.
CREATE TABLE rendezvous_changes (
    seq            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    realm          uuid NOT NULL,
    topic          uuid,
    name           text COLLATE "C",
    offers         bigint NOT NULL,
    peers          bigint NOT NULL DEFAULT 0
-- It is short, and turns over all the time: readers are not to step over what is gone.
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
CREATE INDEX rendezvous_changes_of_topic ON rendezvous_changes (realm, topic);
CREATE INDEX rendezvous_changes_of_offers ON rendezvous_changes (seq) INCLUDE (offers)
    WHERE topic IS NULL;

-- What was signed, until it is too old. The key is one of the peer's key and the nonce.
CREATE TABLE rendezvous_nonces (
    key            uuid PRIMARY KEY,
    expires_at     bigint NOT NULL
);
CREATE INDEX rendezvous_nonces_expiry ON rendezvous_nonces (expires_at);
