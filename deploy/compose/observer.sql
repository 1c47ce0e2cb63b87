-- A login that may read the views of the past in schema argosy, and nothing else. Safe to repeat.
\getenv password OBSERVER_DB_PASSWORD
SELECT 'CREATE ROLE observer LOGIN'
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'observer') \gexec
ALTER ROLE observer PASSWORD :'password';
SELECT 'GRANT argosy_observer TO observer'
WHERE EXISTS (SELECT FROM pg_roles WHERE rolname = 'argosy_observer') \gexec
