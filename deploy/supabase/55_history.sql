-- What an operator asks of the past, and how the past is forgotten.
--
-- The views run with their owner's rights: who may read them sees these columns and nothing else,
-- no file's name, path or reference. A dashboard's login is made a member of argosy_observer.
-- CREATE OR REPLACE keeps the columns of a view in their order: new ones are added at the end.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'argosy_observer') THEN
        CREATE ROLE argosy_observer NOLOGIN;
    END IF;
    IF (SELECT rolbypassrls FROM pg_roles WHERE rolname = 'argosy_observer') THEN
        ALTER ROLE argosy_observer NOBYPASSRLS;
    END IF;
END
$$;

-- One row a transfer. `wait_seconds` is until a worker began with it, and `seconds` since then:
-- of one that has not come so far, until now. A file that has expired since was carried all the
-- same. By ix_transfers_agent: a condition on `queued_at` is what a large table is asked with.
CREATE OR REPLACE VIEW argosy.transfer_history AS
SELECT t.id AS transfer, a.name AS agent, t.kind, t.state, t.priority, t.size,
    t.created_at AS queued_at, t.started_at, t.ended_at,
    extract(epoch FROM coalesce(t.started_at, t.ended_at, now()) - t.created_at)::double precision
        AS wait_seconds,
    extract(epoch FROM coalesce(t.ended_at, now()) - t.started_at)::double precision AS seconds,
    CASE WHEN t.state IN ('completed', 'expired') AND t.ended_at > t.started_at
        THEN t.size / extract(epoch FROM t.ended_at - t.started_at)::double precision END
        AS bytes_per_second,
    t.error_code, t.retry_of
FROM argosy.transfers t JOIN argosy.agents a ON a.id = t.agent_id;

-- What ended in each hour (UTC), by kind. `bytes_per_second` is over the whole hour.
CREATE OR REPLACE VIEW argosy.throughput_hourly AS
SELECT date_trunc('hour', ended_at, 'UTC') AS hour, kind,
    count(*) FILTER (WHERE state IN ('completed', 'expired')) AS completed,
    count(*) FILTER (WHERE state = 'failed') AS failed,
    count(*) FILTER (WHERE state = 'cancelled') AS cancelled,
    coalesce(sum(size) FILTER (WHERE state IN ('completed', 'expired')), 0)::bigint AS bytes,
    (coalesce(sum(size) FILTER (WHERE state IN ('completed', 'expired')), 0) / 3600)
        ::double precision AS bytes_per_second,
    avg(wait_seconds) AS mean_wait_seconds,
    percentile_cont(0.95) WITHIN GROUP (ORDER BY wait_seconds) AS p95_wait_seconds
FROM argosy.transfer_history
WHERE ended_at IS NOT NULL
GROUP BY 1, 2;

-- Why transfers failed on each day (UTC), by the code of the error.
CREATE OR REPLACE VIEW argosy.failures_by_reason AS
SELECT date_trunc('day', ended_at, 'UTC') AS day, error_code, kind, count(*) AS transfers,
    count(DISTINCT agent) AS agents, min(ended_at) AS first_at, max(ended_at) AS last_at
FROM argosy.transfer_history
WHERE state = 'failed'
GROUP BY 1, 2, 3;

REVOKE ALL ON SCHEMA argosy FROM argosy_observer;
REVOKE ALL ON ALL TABLES IN SCHEMA argosy FROM argosy_observer;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA argosy FROM argosy_observer;
REVOKE ALL ON argosy.transfer_history, argosy.throughput_hourly, argosy.failures_by_reason
    FROM PUBLIC, anon, authenticated, argosy_fleet;
GRANT USAGE ON SCHEMA argosy TO argosy_observer;
GRANT SELECT ON argosy.transfer_history, argosy.throughput_hourly, argosy.failures_by_reason
    TO argosy_observer;

-- The audit's old end: what is older than argosy.history_days(), which is the operator's (see
-- `argosy bootstrap`), and of no transfer that still has a row. The fleet may not say what is old:
-- it can have nothing younger forgotten. Looks at the next `many` events behind the given one, in
-- the order of their times, and says where it came to: nothing, where there are no more.
CREATE OR REPLACE FUNCTION argosy.forget_events(
    after_at timestamptz, after_id bigint, many integer,
    OUT gone bigint, OUT last_at timestamptz, OUT last_id bigint
) LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET argosy.is_forgetting = 'on' AS $$
DECLARE
    days double precision := argosy.history_days();
BEGIN
    gone := 0;
    IF days <= 0 THEN
        RETURN;
    END IF;
    WITH page AS MATERIALIZED (
        SELECT e.id, e.at,
            NOT EXISTS (SELECT FROM argosy.transfers t WHERE t.id = e.transfer_id) AS goes
        FROM argosy.events e
        WHERE e.at < now() - make_interval(secs => days * 86400)
            AND (e.at, e.id) > (after_at, after_id)
        ORDER BY e.at, e.id LIMIT many FOR UPDATE OF e SKIP LOCKED
    ), deleted AS (
        DELETE FROM argosy.events e USING page p WHERE e.id = p.id AND p.goes RETURNING e.id
    ), furthest AS (
        SELECT p.at, p.id FROM page p ORDER BY p.at DESC, p.id DESC LIMIT 1
    )
    SELECT (SELECT count(*) FROM deleted), f.at, f.id INTO gone, last_at, last_id
    FROM (SELECT) AS one LEFT JOIN furthest f ON true;
END
$$;

REVOKE ALL ON FUNCTION argosy.forget_events(timestamptz, bigint, integer)
    FROM PUBLIC, anon, authenticated;
GRANT EXECUTE ON FUNCTION argosy.forget_events(timestamptz, bigint, integer) TO argosy_fleet;
