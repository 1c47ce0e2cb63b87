"""access: who may read and write which object; the audit is append-only.

Revision: 0002, after 0001
"""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# A policy trusts nothing but auth.uid(). What it means is looked up in rows by
# functions that run as their owner, so that a change works on the next request.
FUNCTIONS = """
CREATE FUNCTION argosy.is_enabled(agent uuid) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $$
    SELECT EXISTS (
        SELECT FROM argosy.agents WHERE id = agent AND disabled_at IS NULL)
$$;

CREATE FUNCTION argosy.owns(agent uuid, object_name text) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = '' AS $$
    SELECT object_name LIKE agent::text || '/%'
$$;

CREATE FUNCTION argosy.can_read(bucket text, object_name text) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $$
    SELECT bucket IN ('agent-transfers', 'persistent-data')
        AND argosy.owns(auth.uid(), object_name) AND argosy.is_enabled(auth.uid())
$$;

CREATE FUNCTION argosy.can_write(bucket text, object_name text) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $$
    SELECT bucket IN ('agent-transfers', 'persistent-data')
        AND argosy.owns(auth.uid(), object_name)
        AND EXISTS (
            SELECT FROM argosy.agents
            WHERE id = auth.uid() AND disabled_at IS NULL AND role IN ('admin', 'worker'))
$$;

REVOKE ALL ON FUNCTION argosy.is_enabled(uuid) FROM PUBLIC;
GRANT USAGE ON SCHEMA argosy TO authenticated;
GRANT EXECUTE ON FUNCTION argosy.can_read(text, text) TO authenticated;
GRANT EXECUTE ON FUNCTION argosy.can_write(text, text) TO authenticated;
"""

POLICIES = """
CREATE POLICY argosy_select ON storage.objects FOR SELECT TO authenticated
    USING (argosy.can_read(bucket_id, name));
CREATE POLICY argosy_insert ON storage.objects FOR INSERT TO authenticated
    WITH CHECK (argosy.can_write(bucket_id, name));
CREATE POLICY argosy_update ON storage.objects FOR UPDATE TO authenticated
    USING (argosy.can_write(bucket_id, name)) WITH CHECK (argosy.can_write(bucket_id, name));
CREATE POLICY argosy_delete ON storage.objects FOR DELETE TO authenticated
    USING (argosy.can_write(bucket_id, name));
CREATE POLICY argosy_uploads_select ON storage.s3_multipart_uploads FOR SELECT TO authenticated
    USING (argosy.can_write(bucket_id, key));
CREATE POLICY argosy_parts_select ON storage.s3_multipart_uploads_parts FOR SELECT TO authenticated
    USING (argosy.can_write(bucket_id, key));
"""

APPEND_ONLY = """
CREATE FUNCTION argosy.refuse_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    RAISE EXCEPTION 'argosy.events is append-only' USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON argosy.events
    FOR EACH STATEMENT EXECUTE FUNCTION argosy.refuse_change();
"""


def upgrade() -> None:
    op.execute(FUNCTIONS)
    op.execute(POLICIES)
    op.execute(APPEND_ONLY)


def downgrade() -> None:
    op.execute("DROP TRIGGER append_only ON argosy.events")
    for name in (
        "argosy_parts_select ON storage.s3_multipart_uploads_parts",
        "argosy_uploads_select ON storage.s3_multipart_uploads",
    ):
        op.execute(f"DROP POLICY {name}")
    for name in ("argosy_delete", "argosy_update", "argosy_insert", "argosy_select"):
        op.execute(f"DROP POLICY {name} ON storage.objects")
    op.execute("REVOKE USAGE ON SCHEMA argosy FROM authenticated")
    for function in (
        "refuse_change()",
        "can_write(text, text)",
        "can_read(text, text)",
        "owns(uuid, text)",
        "is_enabled(uuid)",
    ):
        op.execute(f"DROP FUNCTION argosy.{function}")
