-- $1 key, $2 ticket, $3 request, $4 reserved_at, $5 expires_at
INSERT INTO idempotency_keys AS held (hash, ticket, request, reserved_at, expires_at)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (hash) DO UPDATE SET (ticket, request, reserved_at, expires_at, answer) = (
    SELECT it.* FROM (
        SELECT excluded.ticket, excluded.request, excluded.reserved_at, excluded.expires_at,
            NULL::bytea
        WHERE held.expires_at <= excluded.reserved_at
        UNION ALL
        SELECT held.ticket, held.request, held.reserved_at, held.expires_at, held.answer
        WHERE held.expires_at > excluded.reserved_at
    ) AS it
)
RETURNING ticket, request, reserved_at, answer
