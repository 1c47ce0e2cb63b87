-- Runs once, when Supabase's Postgres makes its data folder: a password of its own for each of
-- the roles as which Auth and Storage connect. \getenv keeps them out of every command line.
\getenv auth_password AUTH_DB_PASSWORD
\getenv storage_password STORAGE_DB_PASSWORD
ALTER ROLE supabase_auth_admin WITH LOGIN PASSWORD :'auth_password';
ALTER ROLE supabase_storage_admin WITH LOGIN PASSWORD :'storage_password';
