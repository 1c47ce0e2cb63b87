-- What a retention sweep asks of Storage's own book. The fleet's role sees objects only as the
-- agent that it works for: of these names it is told which are there and when each was last
-- stored, and nothing else.
--
-- `updated_at` moves too where only the user metadata changed, as the fleet itself does;
-- `lastModified` is when the bytes came, by the clock of the backend. The earlier of both is right
-- in either case, and whichever clock is ahead. A text that is no time is left aside.
--
-- What row-level security would hide from the owner of this function must be an error: a sweep
-- would take it for gone.
CREATE OR REPLACE FUNCTION argosy.last_stored(in_bucket text, names text[])
RETURNS TABLE (object_name text, stored_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET row_security = off AS $$
    SELECT o.name, least(
        coalesce(o.updated_at, o.created_at),
        CASE
            WHEN o.metadata ->> 'lastModified'
                ~ '^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d([.]\d+)?(Z|[+-]\d\d:?\d\d)$'
            THEN (o.metadata ->> 'lastModified')::timestamptz
        END)
    FROM storage.objects o
    WHERE o.bucket_id = in_bucket AND o.name = ANY (names)
        AND EXISTS (SELECT FROM argosy.buckets b WHERE b.name = in_bucket)
$$;

REVOKE ALL ON FUNCTION argosy.last_stored(text, text[]) FROM PUBLIC, anon, authenticated;
GRANT EXECUTE ON FUNCTION argosy.last_stored(text, text[]) TO argosy_fleet;
