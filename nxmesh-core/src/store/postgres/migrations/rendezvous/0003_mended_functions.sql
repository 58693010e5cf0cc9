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
