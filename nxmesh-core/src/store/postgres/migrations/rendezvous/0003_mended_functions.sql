-- Those who have no part in an offer may have so many candidates there together, not only each of them.
DROP FUNCTION rendezvous_add_candidates(uuid, uuid, text, text[], boolean, bigint, bigint);

-- RendezvousStore::add_candidates. Says to whom they were delivered.
CREATE FUNCTION rendezvous_add_candidates(
    _key uuid, _author uuid, _peer text, _bodies text[], _most_early bigint, _most bigint,
    _now bigint
) RETURNS TABLE (outcome text, delivered_to text)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    _offer record;
    _recipient uuid;
    _name text;
    _there bigint;
    _stamp bigint;
BEGIN
    -- An answer stays, and with it the recipient; without one it must not come meanwhile.
    SELECT answerer INTO _offer FROM rendezvous_offers WHERE key = _key;
    IF _offer.answerer IS NULL THEN
        SELECT seq, owner, peer, answerer, answered_by INTO _offer FROM rendezvous_offers
        WHERE key = _key AND expires_at > _now FOR NO KEY UPDATE;
    ELSE
        SELECT seq, owner, peer, answerer, answered_by INTO _offer FROM rendezvous_offers
        WHERE key = _key AND expires_at > _now FOR KEY SHARE;
    END IF;
    IF NOT FOUND THEN
        RETURN QUERY SELECT 'not_found', NULL::text;
        RETURN;
    END IF;
    IF _author = _offer.owner THEN
        -- Who answered an own offer is on no other side.
        IF _offer.answerer <> _author THEN
            _recipient := _offer.answerer;
            _name := _offer.answered_by;
        END IF;
    ELSIF _author = _offer.answerer THEN
        _recipient := _offer.owner;
        _name := _offer.peer;
    ELSIF _offer.answerer IS NOT NULL OR _most_early IS NULL THEN
        RETURN QUERY SELECT 'not_allowed', NULL::text;
        RETURN;
    ELSE
        SELECT count(*) INTO _there FROM rendezvous_candidates
        WHERE offer = _offer.seq AND author <> _offer.owner;
        IF _there + cardinality(_bodies) > _most_early THEN
            RETURN QUERY SELECT 'too_many', NULL::text;
            RETURN;
        END IF;
    END IF;

    IF _recipient IS NOT NULL THEN
        PERFORM rendezvous_lock_peers(ARRAY[_recipient], _now);
    END IF;
    SELECT count(*) INTO _there FROM rendezvous_candidates WHERE offer = _offer.seq AND author = _author;
    IF _there + cardinality(_bodies) > _most THEN
        RETURN QUERY SELECT 'too_many', NULL::text;
        RETURN;
    END IF;
    IF _recipient IS NOT NULL THEN
        UPDATE rendezvous_peers SET
            stamp = greatest(stamp + cardinality(_bodies), _now + cardinality(_bodies) - 1)
        WHERE peer = _recipient RETURNING stamp - cardinality(_bodies) INTO _stamp;
    END IF;
    INSERT INTO rendezvous_candidates (offer, author, peer, offerer, body, recipient, stamp)
    SELECT _offer.seq, _author, _peer, _author = _offer.owner, body, _recipient,
        coalesce(_stamp + number, _now)
    FROM unnest(_bodies) WITH ORDINALITY AS it (body, number) ORDER BY number;
    RETURN QUERY SELECT 'added', _name;
END $$;

-- A publish that is refused leaves nothing behind: the row of a peer that has no figures yet is not kept.
--
-- RendezvousStore::publish. Ids are given once each; the topics of all offers stand in one list, and _ends
-- says where those of each end.
CREATE OR REPLACE FUNCTION rendezvous_publish(
    _realm uuid, _realm_name text, _owner uuid, _peer text, _now bigint,
    _of_peer bigint, _of_all bigint,
    _keys uuid[], _ids text[], _sdps text[], _infos text[], _secrets bytea[], _expiries bigint[],
    _topics uuid[], _pairs uuid[], _names text[], _ends bigint[]
) RETURNS TABLE (outcome text, number bigint, made bigint, expires bigint, is_new boolean)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    _old record;
    _from bigint;
    _kept bigint[] := '{}';
    _dead bigint[] := '{}';
    _new bigint;
    _taken bigint;
    _there bigint;
    _last bigint;
    _numbers bigint[];
    _it record;
    _seq bigint;
BEGIN
    FOR _old IN
        SELECT o.seq, o.owner, o.sdp, o.topics, o.expires_at, it.number
        FROM unnest(_keys) WITH ORDINALITY AS it (key, number)
        JOIN rendezvous_offers o ON o.key = it.key ORDER BY o.key FOR UPDATE OF o
    LOOP
        _from := coalesce(_ends[_old.number - 1], 0) + 1;
        IF _old.expires_at <= _now THEN
            _dead := _dead || _old.seq;
        ELSIF _old.owner = _owner AND _old.sdp = _sdps[_old.number]
            AND _old.topics @> _names[_from:_ends[_old.number]]
            AND _old.topics <@ _names[_from:_ends[_old.number]]
        THEN
            _kept := _kept || _old.number;
        ELSE
            _taken := least(_taken, _old.number);
        END IF;
    END LOOP;
    IF _taken IS NOT NULL THEN
        RETURN QUERY SELECT 'taken', _taken, 0::bigint, 0::bigint, false;
        RETURN;
    END IF;

    _new := cardinality(_keys) - cardinality(_kept);
    IF _new > 0 THEN
        PERFORM rendezvous_lock_peers(
            ARRAY(SELECT owner FROM rendezvous_offers WHERE seq = ANY (_dead)) || _owner, _now);
        SELECT count(*) INTO _there FROM rendezvous_offers WHERE owner = _owner AND expires_at > _now;
        IF _there + _new > _of_peer THEN
            DELETE FROM rendezvous_peers WHERE peer = _owner AND stamp = 0 AND made = 0;
            RETURN QUERY SELECT 'too_many_of_peer', 0::bigint, 0::bigint, 0::bigint, false;
            RETURN;
        END IF;
        SELECT coalesce(max(offers), 0) INTO _there FROM rendezvous_realms
        WHERE realm = '00000000-0000-0000-0000-000000000000';
        IF _there + _new > _of_all - 10000 THEN
            -- It is near enough for what was not added up yet to matter.
            SELECT _there + coalesce(sum(offers), 0) INTO _there FROM rendezvous_changes
            WHERE topic IS NULL;
        END IF;
        IF _there + _new > _of_all THEN
            -- What has expired needs no room.
            SELECT _there - count(*) INTO _there FROM rendezvous_offers WHERE expires_at <= _now;
            IF _there + _new > _of_all THEN
                DELETE FROM rendezvous_peers WHERE peer = _owner AND stamp = 0 AND made = 0;
                RETURN QUERY SELECT 'full', 0::bigint, 0::bigint, 0::bigint, false;
                RETURN;
            END IF;
        END IF;
        IF cardinality(_dead) > 0 THEN
            PERFORM rendezvous_remove(_dead, _now);
        END IF;
        UPDATE rendezvous_peers SET made = greatest(made + _new, _now + _new - 1)
        WHERE peer = _owner RETURNING made - _new INTO _last;
        INSERT INTO rendezvous_changes (realm, offers) VALUES (_realm, _new);
        _numbers := ARRAY(SELECT nextval('rendezvous_numbers') FROM generate_series(1, _new));
    END IF;

    -- Numbers are in the order given, and rows are made in that of the keys.
    FOR _it IN
        SELECT it.*, _topics[since:until] AS topics, _pairs[since:until] AS pairs,
            _names[since:until] AS names
        FROM (
            SELECT number, key, coalesce(_ends[number - 1], 0) + 1 AS since, _ends[number] AS until,
                number = ANY (_kept) AS is_kept,
                row_number() OVER (PARTITION BY number = ANY (_kept) ORDER BY number) AS rank
            FROM unnest(_keys) WITH ORDINALITY AS given (key, number)
        ) AS it ORDER BY key
    LOOP
        IF _it.is_kept THEN
            UPDATE rendezvous_offers SET expires_at = _expiries[_it.number],
                last_seen = greatest(last_seen, _now), info = _infos[_it.number],
                secret = _secrets[_it.number]
            WHERE key = _it.key RETURNING seq INTO _seq;
            UPDATE rendezvous_entries e SET expires_at = o.expires_at, last_seen = o.last_seen
            FROM rendezvous_offers o WHERE o.seq = _seq AND e.seq = _seq;
            CONTINUE;
        END IF;
        INSERT INTO rendezvous_offers (seq, key, realm, owner, realm_name, id, peer, sdp, topics,
            info, secret, created_at, last_seen, expires_at)
        VALUES (_numbers[_it.rank], _it.key, _realm, _owner, _realm_name, _ids[_it.number], _peer,
            _sdps[_it.number], _it.names, _infos[_it.number], _secrets[_it.number],
            _last + _it.rank, _now, _expiries[_it.number])
        ON CONFLICT (key) DO NOTHING;
        IF NOT FOUND THEN
            RAISE 'somebody else made this offer just now' USING ERRCODE = '40001';
        END IF;
        PERFORM rendezvous_list(_numbers[_it.rank], _it.topics, _it.pairs, _it.names);
    END LOOP;
    RETURN QUERY SELECT 'published', it.number, created_at, expires_at, it.number <> ALL (_kept)
    FROM unnest(_keys) WITH ORDINALITY AS it (key, number)
    JOIN rendezvous_offers o ON o.key = it.key ORDER BY it.number;
END $$;

-- Who answers an own offer is delivered none of the own candidates.
--
-- RendezvousStore::answer. Says too whether something was delivered to the answerer.
CREATE OR REPLACE FUNCTION rendezvous_answer(
    _key uuid, _answerer uuid, _by text, _sdp text, _matched text[], _expires_at bigint, _now bigint
) RETURNS TABLE (outcome text, to_answerer boolean, offer rendezvous_offers)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    _offer record;
    _stamp bigint;
    _theirs bigint;
    _nothing rendezvous_offers;
    _written rendezvous_offers;
    _delivered bigint;
    _received bigint;
BEGIN
    -- Who is too late need not wait for those before.
    SELECT answerer INTO _offer FROM rendezvous_offers WHERE key = _key AND expires_at > _now;
    IF FOUND AND _offer.answerer IS NULL THEN
        SELECT seq, owner, answerer, locked_until INTO _offer FROM rendezvous_offers
        WHERE key = _key AND expires_at > _now FOR UPDATE;
    END IF;
    IF NOT FOUND THEN
        RETURN QUERY SELECT 'not_found', false, _nothing;
        RETURN;
    END IF;
    IF _offer.answerer IS NOT NULL THEN
        RETURN QUERY SELECT 'already_answered', false, _nothing;
        RETURN;
    END IF;
    IF _offer.locked_until > _now THEN
        RETURN QUERY SELECT 'locked', false, _nothing;
        RETURN;
    END IF;

    PERFORM rendezvous_lock_peers(ARRAY[_offer.owner, _answerer], _now);
    SELECT greatest(_now, stamp + 1) INTO _stamp FROM rendezvous_peers WHERE peer = _offer.owner;
    -- Who answers is told when that was, and may read on from there.
    SELECT greatest(_stamp, stamp) INTO _theirs FROM rendezvous_peers WHERE peer = _answerer;

    WITH waiting AS (
        SELECT seq, row_number() OVER (PARTITION BY offerer ORDER BY seq) AS number, offerer
        FROM rendezvous_candidates
        WHERE offer = _offer.seq AND author IN (_offer.owner, _answerer) AND _answerer <> _offer.owner
    ), delivered AS (
        UPDATE rendezvous_candidates c SET
            recipient = CASE WHEN c.offerer THEN _answerer ELSE _offer.owner END,
            stamp = CASE WHEN c.offerer THEN _theirs ELSE _stamp END + number
        FROM waiting WHERE c.seq = waiting.seq RETURNING c.offerer
    )
    SELECT count(*) FILTER (WHERE offerer), count(*) FILTER (WHERE NOT offerer)
    INTO _delivered, _received FROM delivered;
    DELETE FROM rendezvous_candidates
    WHERE offer = _offer.seq AND author NOT IN (_offer.owner, _answerer);
    UPDATE rendezvous_peers
    SET stamp = CASE peer WHEN _answerer THEN _theirs + _delivered ELSE _stamp + _received END
    WHERE peer IN (_offer.owner, _answerer);

    UPDATE rendezvous_offers SET answerer = _answerer, answered_by = _by, answer_sdp = _sdp,
        answered_at = _stamp, matched_topics = _matched,
        expires_at = coalesce(_expires_at, expires_at)
    WHERE seq = _offer.seq RETURNING * INTO _written;
    PERFORM rendezvous_unlist(ARRAY[_offer.seq]);
    RETURN QUERY SELECT 'answered', _delivered > 0, _written;
END $$;

-- A sweep ends with many candidates too: one of as many offers as may be could take longer than a call may,
-- each time anew.
--
-- RendezvousStore::sweep. Several servers may sweep at once: each takes others.
CREATE OR REPLACE FUNCTION rendezvous_sweep(_now bigint, _most bigint)
RETURNS TABLE (realm_name text, id text, peer text)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    _seqs bigint[] := '{}';
    _candidates bigint := 0;
    _it record;
BEGIN
    FOR _it IN
        SELECT seq FROM rendezvous_offers WHERE expires_at <= _now
        ORDER BY expires_at, seq LIMIT _most FOR UPDATE SKIP LOCKED
    LOOP
        _seqs := _seqs || _it.seq;
        SELECT _candidates + count(*) INTO _candidates FROM rendezvous_candidates
        WHERE offer = _it.seq;
        EXIT WHEN _candidates >= 10000;
    END LOOP;
    IF cardinality(_seqs) > 0 THEN
        RETURN QUERY SELECT o.realm_name, o.id, o.peer FROM rendezvous_offers o
        WHERE o.seq = ANY (_seqs) ORDER BY o.expires_at, o.seq;
        PERFORM rendezvous_remove(_seqs, _now);
    END IF;
    DELETE FROM rendezvous_nonces WHERE key = ANY (ARRAY(
        SELECT key FROM rendezvous_nonces WHERE expires_at <= _now
        ORDER BY expires_at LIMIT _most FOR UPDATE SKIP LOCKED
    ));
    -- Each offer had two peers at least, and some are deleted, not swept.
    DELETE FROM rendezvous_peers WHERE peer = ANY (ARRAY(
        SELECT known.peer FROM rendezvous_peers known WHERE kept_until <= _now
        ORDER BY kept_until LIMIT 10 * _most FOR UPDATE SKIP LOCKED
    ));
END $$;

-- What has expired was looked through again for each topic.
--
-- How much there is in topics, by their number, without the pair of each that is left out. STABLE: it sees what the statement
-- sees that it is part of.
CREATE OR REPLACE FUNCTION rendezvous_counts(_realm uuid, _topics uuid[], _now bigint, _left_out uuid[])
RETURNS TABLE (number bigint, offers bigint, peers bigint)
LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH expired AS MATERIALIZED (
        SELECT topic, sum(entries) AS offers, sum(1 - live.one) AS peers
        FROM (
            -- By the realm, once for all topics: what has expired and was not swept is little.
            SELECT topic, pair, count(*) AS entries FROM rendezvous_entries
            WHERE realm = _realm AND array_position(_topics, topic) IS NOT NULL AND expires_at <= _now
            GROUP BY topic, pair
        ) AS gone CROSS JOIN LATERAL (
            SELECT count(*) AS one FROM (
                SELECT FROM rendezvous_entries e
                WHERE e.pair = gone.pair AND e.expires_at > _now LIMIT 1
            ) AS any_of_them
        ) AS live GROUP BY topic
    )
    SELECT number,
        (coalesce(known.offers, 0) + changed.offers - coalesce(expired.offers, 0) - own.offers)::bigint AS offers,
        (coalesce(known.peers, 0) + changed.peers - coalesce(expired.peers, 0)
            - (own.offers > 0)::int)::bigint AS peers
    FROM unnest(_topics, _left_out) WITH ORDINALITY AS asked (topic, left_out, number)
    LEFT JOIN rendezvous_topics known ON known.topic = asked.topic
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(offers), 0) AS offers, coalesce(sum(peers), 0) AS peers
        FROM rendezvous_changes WHERE realm = _realm AND topic = asked.topic
    ) AS changed
    LEFT JOIN expired ON expired.topic = asked.topic
    CROSS JOIN LATERAL (
        SELECT count(*) AS offers FROM rendezvous_entries
        WHERE pair = asked.left_out AND expires_at > _now
    ) AS own
    ORDER BY number;
END $$;
