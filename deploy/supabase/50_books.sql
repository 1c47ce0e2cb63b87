-- The books against Storage: what `argosy reconcile` and transfer.reconcile ask, page by page.
--
-- The fleet may not read Storage's tables, so these run with their owner's rights, over the
-- fleet's own buckets alone. Each looks at the next `many` things after the key `after`, or at
-- `these` alone, and returns what differs and has done so for `age`. The last row of a page has
-- no kind: its key says how far the page came, and none that there was nothing more to look at.
--
-- row_security is off: an owner whom policies bind is refused. It would see a part of what is
-- there, and every other file would look lost.
--
-- A page is taken by its key alone, in the order of an index, and what lies beside it is looked up
-- row by row, in a function or behind LIMIT 1. Left to itself, and to statistics that may be old,
-- PostgreSQL may read a whole table for each page.

-- The transfer that an object's name speaks of: `<agent id>/<transfer id>/...`. A regular
-- expression would take most of the time of a comparison.
CREATE OR REPLACE FUNCTION argosy.file_id(object_name text) RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN split_part(object_name, '/', 2) LIKE '________-____-____-____-____________'
        AND translate(split_part(object_name, '/', 2), '0123456789abcdef', '') = '----'
    THEN split_part(object_name, '/', 2)::uuid END;

-- Whether the books have a file or a derivative there, or one that is on its way there; `file`
-- is the name of the file that it is or was derived of, `since` when its transfer ended, or when
-- the file went. Of a folder of derivatives it says whether they have the file.
CREATE OR REPLACE FUNCTION argosy.accounts_for(
    in_bucket text, object_name text, OUT held boolean, OUT file text, OUT since timestamptz
) LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
DECLARE
    t record;
    on_its_way boolean;
BEGIN
    held := false;
    SELECT transfers.id, state, cleaned_at, ended_at, transfers.object_name AS path,
        (tombstone ->> 'at')::timestamptz AS gone_at INTO t
    FROM argosy.transfers
    WHERE id = argosy.file_id($2) AND kind IN ('upload', 'copy') AND bucket = in_bucket;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    file := t.path;
    since := greatest(t.ended_at, t.cleaned_at, t.gone_at);
    on_its_way := t.state NOT IN ('completed', 'failed', 'cancelled', 'expired')
        OR t.state IN ('failed', 'cancelled') AND t.cleaned_at IS NULL;
    IF NOT on_its_way AND t.state <> 'completed' THEN
        RETURN;
    END IF;
    held := t.path = $2 OR right($2, 1) = '/';
    IF NOT held THEN
        held := EXISTS (
            SELECT FROM argosy.derivatives d
            WHERE d.transfer_id = t.id AND d.object_name = $2
                AND (on_its_way OR d.state IN ('due', 'made')));
    END IF;
END
$$;

-- Whether there is such an object; of a folder of derivatives, whether anything of its file is.
CREATE OR REPLACE FUNCTION argosy.is_stored(in_bucket text, object_name text) RETURNS boolean
LANGUAGE plpgsql STABLE AS $$
DECLARE
    above text := left($2, -length('/derived/'));
BEGIN
    IF right($2, 1) <> '/' THEN
        RETURN EXISTS (SELECT FROM storage.objects WHERE bucket_id = in_bucket AND name = $2);
    END IF;
    RETURN EXISTS (
        SELECT FROM storage.objects
        WHERE bucket_id = in_bucket
            AND name COLLATE "C" > above || '/' AND name COLLATE "C" < above || '0');
END
$$;

-- Whether a batch on its way has sent this file: it has no row before its whole parcel is sent.
-- The batches of its agent that have begun are few; by ix_transfers_usage.
CREATE OR REPLACE FUNCTION argosy.is_in_a_batch(in_bucket text, object_name text) RETURNS boolean
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN EXISTS (
        SELECT FROM argosy.transfers t JOIN argosy.parcels p ON p.transfer_id = t.id
        WHERE t.agent_id = argosy.file_id('/' || $2) AND t.kind = 'batch'
            AND t.state IN ('moving', 'assembling', 'paused') AND t.bucket = in_bucket
            AND p.files @> jsonb_build_array(jsonb_build_object('id', argosy.file_id($2))));
END
$$;

-- What keeps an object that no book accounts for: a message that names it or its file, or a
-- transfer on its way that does.
CREATE OR REPLACE FUNCTION argosy.kept_by(in_bucket text, object_name text, file text)
RETURNS text LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF EXISTS (SELECT FROM argosy.pins p WHERE p.bucket = in_bucket AND p.path IN ($2, $3)) THEN
        RETURN 'pin';
    END IF;
    IF EXISTS (
        SELECT FROM argosy.transfers t
        WHERE t.state IN ('queued', 'planned', 'moving', 'assembling', 'paused')
            AND t.bucket = in_bucket AND t.object_name = $2
    ) OR argosy.is_in_a_batch(in_bucket, $2) THEN
        RETURN 'transfer';
    END IF;
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION argosy.require_buckets(names text[]) RETURNS void
LANGUAGE plpgsql STABLE AS $$
DECLARE
    strange text;
BEGIN
    SELECT name INTO strange FROM unnest(names) AS name
    WHERE name NOT IN (SELECT b.name FROM argosy.buckets b);
    IF FOUND THEN
        RAISE EXCEPTION '% is no bucket of the fleet', strange USING ERRCODE = 'undefined_object';
    END IF;
END
$$;

-- Bytes, as Storage notes them of an object; NULL where it does not.
CREATE OR REPLACE FUNCTION argosy.object_bytes(metadata jsonb) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN substring(metadata ->> 'size' FROM '^[0-9]{1,18}$')::bigint;

-- Objects that no transfer, and derived ones that no derivative, accounts for. The key is a name.
CREATE OR REPLACE FUNCTION argosy.stray_objects(
    in_bucket text, after text, many integer, age interval, these text[] DEFAULT NULL
) RETURNS TABLE (
    kind text, bucket text, path text, at timestamptz, key text,
    found bigint, expected bigint, kept text
) LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET row_security = off
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off AS $$
#variable_conflict use_column
DECLARE
    names text[] := these;
BEGIN
    PERFORM argosy.require_buckets(ARRAY[in_bucket]);
    IF these IS NULL THEN
        names := ARRAY(
            SELECT o.name FROM storage.objects o
            WHERE o.bucket_id = in_bucket AND o.name COLLATE "C" > after
            ORDER BY o.name COLLATE "C" LIMIT many);
    END IF;
    RETURN QUERY
    SELECT CASE WHEN o.name ~ '^[^/]+/[^/]+/derived/' THEN 'object_without_derivative'
            ELSE 'object_without_transfer' END,
        o.bucket_id, o.name, greatest(o.created_at, o.updated_at, a.since), o.name,
        argosy.object_bytes(o.metadata), NULL::bigint,
        CASE WHEN o.name IN (
                SELECT t.copied_from ->> 'path' FROM argosy.transfers t
                WHERE t.state IN ('queued', 'planned', 'moving', 'assembling', 'paused')
                    AND t.kind = 'copy' AND t.copied_from ->> 'bucket' = in_bucket)
            THEN 'transfer' ELSE argosy.kept_by(o.bucket_id, o.name, a.file) END
    FROM unnest(names) AS looked_at CROSS JOIN LATERAL (
        SELECT * FROM storage.objects
        WHERE bucket_id = in_bucket AND name = looked_at LIMIT 1) o
    CROSS JOIN LATERAL argosy.accounts_for(o.bucket_id, o.name) a
    WHERE NOT a.held
        AND greatest(o.created_at, o.updated_at, a.since) <= now() - age
    UNION ALL
    SELECT NULL, NULL, NULL, NULL, names[cardinality(names)], NULL, NULL, NULL;
END
$$;

-- Whether a file's compressed copy is there: the same bytes, stored in another way.
CREATE OR REPLACE FUNCTION argosy.has_copy(file uuid, in_bucket text) RETURNS boolean
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN EXISTS (
        SELECT FROM argosy.derivatives d
        WHERE d.transfer_id = file AND d.kind = 'compress' AND d.state = 'made'
            AND argosy.is_stored(in_bucket, d.object_name));
END
$$;

-- Completed transfers whose object is gone though nobody deleted it, or has another size. One that
-- is claimed is on its way out: whoever holds it removes its object first. The key is the
-- transfer's id.
CREATE OR REPLACE FUNCTION argosy.differing_files(
    in_buckets text[], after text, many integer, age interval, these text[] DEFAULT NULL
) RETURNS TABLE (
    kind text, bucket text, path text, at timestamptz, key text,
    found bigint, expected bigint, kept text
) LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET row_security = off
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off AS $$
#variable_conflict use_column
DECLARE
    ids uuid[] := these;
BEGIN
    PERFORM argosy.require_buckets(in_buckets);
    IF these IS NULL THEN
        ids := ARRAY(
            SELECT t.id FROM argosy.transfers t
            WHERE t.id > coalesce(nullif(after, ''), '00000000-0000-0000-0000-000000000000')::uuid
            ORDER BY t.id LIMIT many);
    END IF;
    RETURN QUERY
    SELECT CASE WHEN o.name IS NULL THEN 'transfer_without_object' ELSE 'wrong_size' END,
        t.bucket::text, t.object_name::text, greatest(t.ended_at, o.updated_at), t.id::text,
        o.bytes, coalesce(t.stored_size, t.size),
        CASE WHEN o.name IS NULL AND argosy.has_copy(t.id, t.bucket) THEN 'copy' END
    FROM unnest(ids) AS looked_at CROSS JOIN LATERAL (
        SELECT * FROM argosy.transfers WHERE id = looked_at LIMIT 1) t
    LEFT JOIN LATERAL (
        SELECT name, updated_at, argosy.object_bytes(metadata) AS bytes FROM storage.objects
        WHERE bucket_id = t.bucket AND name = t.object_name LIMIT 1) o ON true
    WHERE t.state = 'completed' AND t.kind IN ('upload', 'copy')
        AND t.bucket = ANY (in_buckets)
        AND greatest(t.ended_at, o.updated_at, t.lease_until) <= now() - age
        AND CASE WHEN o.name IS NULL THEN NOT argosy.was_deleted(t.bucket, t.object_name)
            ELSE o.bytes <> coalesce(t.stored_size, t.size) END
    UNION ALL
    SELECT NULL, NULL, NULL, NULL, ids[cardinality(ids)]::text, NULL, NULL, NULL;
END
$$;

-- Whether somebody has deleted a file that was there. By ix_events_deleted.
CREATE OR REPLACE FUNCTION argosy.was_deleted(in_bucket text, object_name text) RETURNS boolean
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN EXISTS (
        SELECT FROM argosy.events e
        WHERE e.name = 'file.deleted' AND e.object = $1 || '/' || $2 AND e.outcome = 'ok');
END
$$;

-- Derivatives that were made, and whose object is gone or has another size, of files that are
-- there by the books. The key is the derivative's id.
CREATE OR REPLACE FUNCTION argosy.differing_derivatives(
    in_buckets text[], after text, many integer, age interval, these text[] DEFAULT NULL
) RETURNS TABLE (
    kind text, bucket text, path text, at timestamptz, key text,
    found bigint, expected bigint, kept text
) LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET row_security = off
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off AS $$
#variable_conflict use_column
DECLARE
    ids uuid[] := these;
BEGIN
    PERFORM argosy.require_buckets(in_buckets);
    IF these IS NULL THEN
        ids := ARRAY(
            SELECT d.id FROM argosy.derivatives d
            WHERE d.id > coalesce(nullif(after, ''), '00000000-0000-0000-0000-000000000000')::uuid
            ORDER BY d.id LIMIT many);
    END IF;
    RETURN QUERY
    SELECT CASE WHEN o.name IS NULL THEN 'derivative_without_object' ELSE 'wrong_size' END,
        t.bucket::text, d.object_name::text, greatest(d.updated_at, t.ended_at, o.updated_at),
        d.id::text, o.bytes, d.size, NULL
    FROM unnest(ids) AS looked_at CROSS JOIN LATERAL (
        SELECT * FROM argosy.derivatives WHERE id = looked_at LIMIT 1) d
    CROSS JOIN LATERAL (
        SELECT bucket, greatest(ended_at, lease_until) AS ended_at FROM argosy.transfers
        WHERE id = d.transfer_id AND state = 'completed' AND bucket = ANY (in_buckets) LIMIT 1) t
    LEFT JOIN LATERAL (
        SELECT name, updated_at, argosy.object_bytes(metadata) AS bytes FROM storage.objects
        WHERE bucket_id = t.bucket AND name = d.object_name LIMIT 1) o ON true
    WHERE d.state = 'made' AND d.object_name IS NOT NULL
        AND greatest(d.updated_at, t.ended_at, o.updated_at) <= now() - age
        AND (o.name IS NULL OR o.bytes <> d.size)
    UNION ALL
    SELECT NULL, NULL, NULL, NULL, ids[cardinality(ids)]::text, NULL, NULL, NULL;
END
$$;

-- Unfinished uploads that nobody goes on with: as old as their newest part. An agent's own has no
-- row before it is registered. The key is the upload's id.
CREATE OR REPLACE FUNCTION argosy.stray_uploads(
    in_bucket text, after text, many integer, age interval, these text[] DEFAULT NULL
) RETURNS TABLE (
    kind text, bucket text, path text, at timestamptz, key text,
    found bigint, expected bigint, kept text
) LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET row_security = off
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off AS $$
#variable_conflict use_column
DECLARE
    ids text[] := these;
BEGIN
    PERFORM argosy.require_buckets(ARRAY[in_bucket]);
    IF these IS NULL THEN
        ids := ARRAY(
            SELECT u.id FROM storage.s3_multipart_uploads u
            WHERE u.bucket_id = in_bucket AND u.id > after ORDER BY u.id LIMIT many);
    END IF;
    RETURN QUERY
    SELECT 'upload_without_transfer', u.bucket_id, u.key::text,
        greatest(u.created_at, p.newest, a.since), u.id, NULL::bigint, NULL::bigint, NULL
    FROM unnest(ids) AS looked_at CROSS JOIN LATERAL (
        SELECT * FROM storage.s3_multipart_uploads
        WHERE id = looked_at AND bucket_id = in_bucket LIMIT 1) u
    CROSS JOIN LATERAL argosy.accounts_for(u.bucket_id, u.key) a
    CROSS JOIN LATERAL (
        SELECT max(created_at) AS newest FROM storage.s3_multipart_uploads_parts
        WHERE upload_id = u.id) p
    WHERE NOT (a.held AND argosy.is_moved_to(u.bucket_id, u.key))
        AND greatest(u.created_at, p.newest, a.since) <= now() - age
    UNION ALL
    SELECT NULL, NULL, NULL, NULL, ids[cardinality(ids)], NULL, NULL, NULL;
END
$$;

-- Whether bytes of a file or derivative that the books have may still be on their way there.
CREATE OR REPLACE FUNCTION argosy.is_moved_to(in_bucket text, object_name text) RETURNS boolean
LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
BEGIN
    RETURN EXISTS (
        SELECT FROM argosy.transfers t
        WHERE t.id = argosy.file_id($2) AND t.bucket = in_bucket AND t.state <> 'completed'
    ) OR EXISTS (
        SELECT FROM argosy.derivatives d
        WHERE d.transfer_id = argosy.file_id($2) AND d.object_name = $2 AND d.state = 'due');
END
$$;

-- Claims that ended long ago and that nobody has taken since: of transfers, chunks and
-- derivatives. The key says which; `many` are returned, not looked at.
CREATE OR REPLACE FUNCTION argosy.stale_leases(
    in_buckets text[], after text, many integer, age interval, these text[] DEFAULT NULL
) RETURNS TABLE (
    kind text, bucket text, path text, at timestamptz, key text,
    found bigint, expected bigint, kept text
) LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET row_security = off
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off AS $$
#variable_conflict use_column
DECLARE
    ended timestamptz := now() - age;
BEGIN
    RETURN QUERY
    WITH stale AS (
        SELECT t.bucket, t.object_name AS path, t.lease_until AS at, 'transfer/' || t.id AS key
        FROM argosy.transfers t
        WHERE t.state IN ('queued', 'planned', 'moving', 'assembling', 'paused')
            AND t.lease_until <= ended
        UNION ALL
        SELECT t.bucket, t.object_name, c.lease_until,
            'chunk/' || c.transfer_id || '/' || c.number
        FROM argosy.chunks c JOIN argosy.transfers t ON t.id = c.transfer_id
        WHERE c.state IN ('queued', 'moving') AND c.lease_until <= ended
        UNION ALL
        SELECT t.bucket, coalesce(d.object_name, t.object_name), d.lease_until,
            'derivative/' || d.id
        FROM argosy.derivatives d JOIN argosy.transfers t ON t.id = d.transfer_id
        WHERE d.state = 'due' AND d.lease_until <= ended
    ), page AS (
        SELECT * FROM stale
        WHERE stale.bucket = ANY (in_buckets)
            AND CASE WHEN these IS NULL THEN stale.key > after ELSE stale.key = ANY (these) END
        ORDER BY stale.key LIMIT many
    )
    SELECT 'stale_lease', page.bucket::text, page.path::text, page.at, page.key,
        NULL::bigint, NULL::bigint, NULL FROM page
    UNION ALL
    SELECT NULL, NULL, NULL, NULL, (SELECT max(page.key) FROM page), NULL, NULL, NULL;
END
$$;

-- Grants on a file, or on what was derived of one, that is neither there nor on its way. What is
-- given on another folder, or on a bucket, is given on whatever will be there. The key is the
-- grant's id.
CREATE OR REPLACE FUNCTION argosy.grants_without_file(
    in_buckets text[], after text, many integer, age interval, these text[] DEFAULT NULL
) RETURNS TABLE (
    kind text, bucket text, path text, at timestamptz, key text,
    found bigint, expected bigint, kept text
) LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET row_security = off
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off AS $$
#variable_conflict use_column
DECLARE
    ids uuid[] := these;
BEGIN
    PERFORM argosy.require_buckets(in_buckets);
    IF these IS NULL THEN
        ids := ARRAY(
            SELECT g.id FROM argosy.grants g
            WHERE g.id > coalesce(nullif(after, ''), '00000000-0000-0000-0000-000000000000')::uuid
            ORDER BY g.id LIMIT many);
    END IF;
    RETURN QUERY
    SELECT 'grant_without_file', g.bucket::text, g.path::text, greatest(g.created_at, a.since),
        g.id::text, NULL::bigint, NULL::bigint, NULL
    FROM unnest(ids) AS looked_at CROSS JOIN LATERAL (
        SELECT * FROM argosy.grants WHERE id = looked_at LIMIT 1) g
    CROSS JOIN LATERAL argosy.accounts_for(g.bucket, g.path) a
    WHERE g.bucket = ANY (in_buckets)
        AND CASE WHEN right(g.path, 1) = '/' THEN argosy.file_id(g.path) IS NOT NULL
                AND split_part(g.path, '/', 3) = 'derived' AND split_part(g.path, '/', 4) = ''
            ELSE g.path <> '' END
        AND greatest(g.created_at, a.since) <= now() - age
        AND NOT a.held AND NOT argosy.is_stored(g.bucket, g.path)
    UNION ALL
    SELECT NULL, NULL, NULL, NULL, ids[cardinality(ids)]::text, NULL, NULL, NULL;
END
$$;

-- Pins on a file that is neither there nor on its way. The key is the pin's id.
CREATE OR REPLACE FUNCTION argosy.pins_without_file(
    in_buckets text[], after text, many integer, age interval, these text[] DEFAULT NULL
) RETURNS TABLE (
    kind text, bucket text, path text, at timestamptz, key text,
    found bigint, expected bigint, kept text
) LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET row_security = off
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off AS $$
#variable_conflict use_column
DECLARE
    ids uuid[] := these;
BEGIN
    PERFORM argosy.require_buckets(in_buckets);
    IF these IS NULL THEN
        ids := ARRAY(
            SELECT p.id FROM argosy.pins p
            WHERE p.id > coalesce(nullif(after, ''), '00000000-0000-0000-0000-000000000000')::uuid
            ORDER BY p.id LIMIT many);
    END IF;
    RETURN QUERY
    SELECT 'pin_without_file', p.bucket::text, p.path::text, greatest(p.at, a.since),
        p.id::text, NULL::bigint, NULL::bigint, NULL
    FROM unnest(ids) AS looked_at CROSS JOIN LATERAL (
        SELECT * FROM argosy.pins WHERE id = looked_at LIMIT 1) p
    CROSS JOIN LATERAL argosy.accounts_for(p.bucket, p.path) a
    WHERE p.bucket = ANY (in_buckets)
        AND greatest(p.at, a.since) <= now() - age
        AND NOT a.held AND NOT argosy.is_stored(p.bucket, p.path)
    UNION ALL
    SELECT NULL, NULL, NULL, NULL, ids[cardinality(ids)]::text, NULL, NULL, NULL;
END
$$;

REVOKE ALL ON FUNCTION
    argosy.file_id(text), argosy.accounts_for(text, text), argosy.is_stored(text, text),
    argosy.is_in_a_batch(text, text),
    argosy.kept_by(text, text, text), argosy.require_buckets(text[]), argosy.has_copy(uuid, text),
    argosy.object_bytes(jsonb), argosy.was_deleted(text, text), argosy.is_moved_to(text, text),
    argosy.stray_objects(text, text, integer, interval, text[]),
    argosy.differing_files(text[], text, integer, interval, text[]),
    argosy.differing_derivatives(text[], text, integer, interval, text[]),
    argosy.stray_uploads(text, text, integer, interval, text[]),
    argosy.stale_leases(text[], text, integer, interval, text[]),
    argosy.grants_without_file(text[], text, integer, interval, text[]),
    argosy.pins_without_file(text[], text, integer, interval, text[])
    FROM PUBLIC, anon, authenticated;
GRANT EXECUTE ON FUNCTION
    argosy.stray_objects(text, text, integer, interval, text[]),
    argosy.differing_files(text[], text, integer, interval, text[]),
    argosy.differing_derivatives(text[], text, integer, interval, text[]),
    argosy.stray_uploads(text, text, integer, interval, text[]),
    argosy.stale_leases(text[], text, integer, interval, text[]),
    argosy.grants_without_file(text[], text, integer, interval, text[]),
    argosy.pins_without_file(text[], text, integer, interval, text[])
    TO argosy_fleet;
