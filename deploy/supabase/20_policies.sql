-- The policies. Each is left alone where it is right: replacing one locks Storage's table.

-- Without row-level security no policy is asked.
DO $$
DECLARE
    open_table regclass;
BEGIN
    FOR open_table IN SELECT oid FROM pg_class WHERE NOT relrowsecurity AND oid IN (
        'storage.objects'::regclass, 'storage.s3_multipart_uploads'::regclass,
        'storage.s3_multipart_uploads_parts'::regclass)
    LOOP
        EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', open_table);
    END LOOP;
END
$$;

-- pg_get_expr leaves out a schema that is on the search_path.

CREATE OR REPLACE FUNCTION pg_temp.argosy_policy(
    policy text, target regclass, command text, using_ text, check_ text
) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM FROM pg_policy
    WHERE polname = policy AND polrelid = target AND polpermissive
        AND polroles = ARRAY['authenticated'::regrole::oid]
        AND polcmd = CASE command
            WHEN 'SELECT' THEN 'r' WHEN 'INSERT' THEN 'a' WHEN 'UPDATE' THEN 'w' ELSE 'd' END
        AND pg_get_expr(polqual, polrelid) IS NOT DISTINCT FROM using_
        AND pg_get_expr(polwithcheck, polrelid) IS NOT DISTINCT FROM check_;
    IF FOUND THEN
        RETURN;
    END IF;
    EXECUTE format('DROP POLICY IF EXISTS %I ON %s', policy, target);
    EXECUTE format('CREATE POLICY %I ON %s FOR %s TO authenticated', policy, target, command)
        || coalesce(' USING (' || using_ || ')', '')
        || coalesce(' WITH CHECK (' || check_ || ')', '');
END
$$;

-- The expressions are spelled as PostgreSQL prints them, so that they compare equal.
SELECT pg_temp.argosy_policy('argosy_select', 'storage.objects', 'SELECT',
    'argosy.can_read(bucket_id, name)', NULL);
SELECT pg_temp.argosy_policy('argosy_insert', 'storage.objects', 'INSERT',
    NULL, 'argosy.can_write(bucket_id, name)');
SELECT pg_temp.argosy_policy('argosy_update', 'storage.objects', 'UPDATE',
    'argosy.can_write(bucket_id, name)', 'argosy.can_write(bucket_id, name)');
SELECT pg_temp.argosy_policy('argosy_delete', 'storage.objects', 'DELETE',
    'argosy.can_write(bucket_id, name)', NULL);

-- Of the multipart tables an agent sees the rows of its own uploads.
SELECT pg_temp.argosy_policy('argosy_uploads_select', 'storage.s3_multipart_uploads', 'SELECT',
    '((owner_id = (( SELECT auth.uid() AS uid))::text) AND argosy.can_write(bucket_id, key))',
    NULL);
SELECT pg_temp.argosy_policy('argosy_parts_select', 'storage.s3_multipart_uploads_parts', 'SELECT',
    '((owner_id = (( SELECT auth.uid() AS uid))::text) AND argosy.can_write(bucket_id, key))',
    NULL);

-- Behind a pooler the session goes on, for somebody else.
DROP FUNCTION pg_temp.argosy_policy(text, regclass, text, text, text);
