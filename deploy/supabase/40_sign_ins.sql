-- Supabase Auth tells the audit of sign-ins, refreshes and refused keys through its hooks
-- (https://supabase.com/docs/guides/auth/auth-hooks). They are switched on in Auth's settings:
--   GOTRUE_HOOK_CUSTOM_ACCESS_TOKEN_ENABLED=true
--   GOTRUE_HOOK_CUSTOM_ACCESS_TOKEN_URI=pg-functions://postgres/argosy/token_issued
--   GOTRUE_HOOK_PASSWORD_VERIFICATION_ATTEMPT_ENABLED=true
--   GOTRUE_HOOK_PASSWORD_VERIFICATION_ATTEMPT_URI=pg-functions://postgres/argosy/password_attempted
-- The functions must be there before the hooks are switched on: Auth refuses every sign-in else.
-- Users who are no agents pass unchanged and unrecorded.

-- Custom access token hook: {user_id, claims, authentication_method} -> {claims} or {error}.
CREATE OR REPLACE FUNCTION argosy.token_issued(event jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    agent record;
BEGIN
    SELECT id, disabled_at INTO agent FROM argosy.agents WHERE id = (event ->> 'user_id')::uuid;
    IF NOT FOUND THEN
        RETURN jsonb_build_object('claims', event -> 'claims');
    END IF;
    IF agent.disabled_at IS NOT NULL THEN
        RETURN jsonb_build_object('error', jsonb_build_object(
            'http_code', 403, 'message', 'This agent is disabled.'));
    END IF;
    INSERT INTO argosy.events (name, agent_id, outcome, detail) VALUES (
        CASE event ->> 'authentication_method'
            WHEN 'token_refresh' THEN 'session.refreshed' ELSE 'session.opened' END,
        agent.id, 'ok', jsonb_build_object('method', event ->> 'authentication_method'));
    RETURN jsonb_build_object('claims', event -> 'claims');
END
$$;

-- Password verification hook: {user_id, valid} -> {decision}. What this one records stays; what
-- the other records goes with a sign-in that it refuses.
CREATE OR REPLACE FUNCTION argosy.password_attempted(event jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    agent record;
    refusal text;
BEGIN
    SELECT id, disabled_at INTO agent FROM argosy.agents WHERE id = (event ->> 'user_id')::uuid;
    refusal := CASE
        WHEN agent.id IS NULL THEN NULL
        WHEN NOT (event ->> 'valid')::boolean THEN 'wrong_key'
        WHEN agent.disabled_at IS NOT NULL THEN 'disabled' END;
    IF refusal IS NOT NULL THEN
        INSERT INTO argosy.events (name, agent_id, outcome, reason)
        VALUES ('session.refused', agent.id, 'refused', refusal);
    END IF;
    IF refusal = 'disabled' THEN
        RETURN jsonb_build_object('decision', 'reject', 'message', 'This agent is disabled.');
    END IF;
    RETURN jsonb_build_object('decision', 'continue');
END
$$;

REVOKE ALL ON FUNCTION argosy.token_issued(jsonb), argosy.password_attempted(jsonb) FROM PUBLIC;
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'supabase_auth_admin') THEN
        GRANT USAGE ON SCHEMA argosy TO supabase_auth_admin;
        GRANT EXECUTE ON FUNCTION argosy.token_issued(jsonb), argosy.password_attempted(jsonb)
            TO supabase_auth_admin;
    END IF;
END
$$;
