-- Who may read and write which object. Every policy asks here, and so does `argosy doctor`.
-- Nothing is trusted but auth.uid(): what it means stands in rows, so a change works at once.
--
-- A search_path that does not name pg_temp searches it first for types, so that a caller's own
-- type could run as the owner of these functions: hence it is named, and last.

-- `..` and empty segments could lead a storage backend that keeps files out of a folder.
CREATE OR REPLACE FUNCTION argosy.is_plain(object_name text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN object_name !~ '(^|/)[.]{0,2}(/|$)';

-- The paths of grants that cover an object: its name, every folder above it, the whole bucket.
CREATE OR REPLACE FUNCTION argosy.covering(object_name text) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    segments text[] := string_to_array(object_name, '/');
    folder text := '';
    paths text[] := ARRAY['', object_name];
BEGIN
    FOR depth IN 1 .. cardinality(segments) - 1 LOOP
        folder := folder || segments[depth] || '/';
        paths := paths || folder;
    END LOOP;
    RETURN paths;
END
$$;

-- The one decision. `wanted` is 'read' or 'write'; write is create, replace and delete.
-- One plan serves every call: making a new one costs more than to run it.
CREATE OR REPLACE FUNCTION argosy.decide(
    asking uuid, in_bucket text, object_name text, wanted text,
    OUT allowed boolean, OUT because text
) LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    agent record;
    granted uuid;
    paths text[];
BEGIN
    allowed := false;
    SELECT role, disabled_at INTO agent FROM argosy.agents WHERE id = asking;
    IF NOT FOUND THEN
        because := 'unknown agent';
    ELSIF agent.disabled_at IS NOT NULL THEN
        because := 'agent is disabled';
    ELSIF NOT EXISTS (SELECT FROM argosy.buckets WHERE name = in_bucket) THEN
        because := 'not a bucket of the fleet';
    ELSIF NOT argosy.is_plain(object_name) THEN
        because := 'name has an empty, . or .. segment';
    ELSIF agent.role = 'admin' THEN
        allowed := true;
        because := 'role admin';
    ELSIF wanted = 'write' AND agent.role = 'reader' THEN
        because := 'readers do not write';
    ELSIF starts_with(object_name, asking::text || '/') THEN
        allowed := true;
        because := 'own folder';
    ELSE
        paths := argosy.covering(object_name);
        SELECT id INTO granted FROM argosy.grants
        WHERE bucket = in_bucket AND path = ANY (paths)
            AND agent_id = asking AND access IN (wanted, 'write')
            AND (expires_at IS NULL OR expires_at > now())
        LIMIT 1;
        IF granted IS NULL THEN
            SELECT id INTO granted FROM argosy.grants
            WHERE bucket = in_bucket AND path = ANY (paths)
                AND agent_id IS NULL AND role = agent.role AND access IN (wanted, 'write')
                AND (expires_at IS NULL OR expires_at > now())
            LIMIT 1;
        END IF;
        allowed := granted IS NOT NULL;
        because := coalesce('grant ' || granted, 'no grant');
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION argosy.can_read(bucket text, object_name text) RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    decision record;
BEGIN
    decision := argosy.decide(auth.uid(), bucket, object_name, 'read');
    RETURN decision.allowed;
END
$$;

CREATE OR REPLACE FUNCTION argosy.can_write(bucket text, object_name text) RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    decision record;
BEGIN
    decision := argosy.decide(auth.uid(), bucket, object_name, 'write');
    RETURN decision.allowed;
END
$$;

-- What the functions of migration 0002 called.
DROP FUNCTION IF EXISTS argosy.owns(uuid, text);
DROP FUNCTION IF EXISTS argosy.is_enabled(uuid);

-- Schema argosy is not one that the API exposes; only policies call these. What somebody gave
-- besides is taken away first.
REVOKE ALL ON SCHEMA argosy FROM PUBLIC, anon, authenticated;
REVOKE ALL ON ALL TABLES IN SCHEMA argosy FROM PUBLIC, anon, authenticated;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA argosy FROM PUBLIC, anon, authenticated;
GRANT USAGE ON SCHEMA argosy TO authenticated;
GRANT EXECUTE ON FUNCTION argosy.can_read(text, text), argosy.can_write(text, text)
    TO authenticated;
