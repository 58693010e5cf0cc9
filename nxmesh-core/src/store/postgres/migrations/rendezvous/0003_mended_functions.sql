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
        _recipient := _offer.answerer;
        _name := _offer.answered_by;
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
