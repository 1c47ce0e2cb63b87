-- The role of workers and beat. It adds to the audit and cannot change it, and what decides
-- on access (agents, buckets) is the operator's. `argosy bootstrap` makes the login that uses it.

DO $$
DECLARE
    too_mighty regrole;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'argosy_fleet') THEN
        CREATE ROLE argosy_fleet NOLOGIN;
    END IF;
    -- Work for an agent is done as the agent: SET LOCAL ROLE authenticated.
    IF NOT pg_has_role('argosy_fleet', 'authenticated', 'MEMBER') THEN
        GRANT authenticated TO argosy_fleet;
    END IF;
    -- It is never one that row-level security does not bind.
    IF (SELECT rolbypassrls FROM pg_roles WHERE rolname = 'argosy_fleet') THEN
        ALTER ROLE argosy_fleet NOBYPASSRLS;
    END IF;
    FOR too_mighty IN
        SELECT r.oid FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid
        WHERE m.member = 'argosy_fleet'::regrole AND (r.rolsuper OR r.rolbypassrls)
    LOOP
        EXECUTE format('REVOKE %s FROM argosy_fleet', too_mighty);
    END LOOP;
END
$$;

REVOKE ALL ON SCHEMA argosy FROM argosy_fleet;
REVOKE ALL ON ALL TABLES IN SCHEMA argosy FROM argosy_fleet;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA argosy FROM argosy_fleet;
GRANT USAGE ON SCHEMA argosy TO argosy_fleet;
GRANT SELECT ON ALL TABLES IN SCHEMA argosy TO argosy_fleet;
GRANT INSERT, UPDATE, DELETE
    ON argosy.transfers, argosy.chunks, argosy.continuations, argosy.derivatives, argosy.grants,
    argosy.acts, argosy.heartbeats, argosy.pins, argosy.dead_letters, argosy.rounds,
    argosy.parcels
    TO argosy_fleet;
GRANT INSERT ON argosy.events, argosy.provenance TO argosy_fleet;
GRANT EXECUTE ON FUNCTION argosy.decide(uuid, text, text, text) TO argosy_fleet;

-- The audit is append-only, even for its owner: migration 0002 makes this, here it is put right.
-- Its old end is forgotten by argosy.forget_events alone, which says so.
CREATE OR REPLACE FUNCTION argosy.refuse_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    IF TG_OP = 'DELETE' AND current_setting('argosy.is_forgetting', true) = 'on' THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION 'argosy.events is append-only' USING ERRCODE = 'insufficient_privilege';
END
$$;

DO $$
BEGIN
    PERFORM FROM pg_trigger
    WHERE tgrelid = 'argosy.events'::regclass AND tgname = 'append_only'
        AND tgfoid = 'argosy.refuse_change'::regproc AND tgenabled IN ('O', 'A')
        AND tgtype = 2 + 8 + 16 + 32 -- before, delete, update, truncate; once a statement
        AND tgqual IS NULL AND cardinality(tgattr::int2[]) = 0;
    IF NOT FOUND THEN
        DROP TRIGGER IF EXISTS append_only ON argosy.events;
        CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON argosy.events
            FOR EACH STATEMENT EXECUTE FUNCTION argosy.refuse_change();
    END IF;
END
$$;
