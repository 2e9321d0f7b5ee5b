# Read by the entrypoint of PostgreSQL's image when it makes the data, never run itself.
# shellcheck shell=bash
docker_process_sql <<-EOSQL
	CREATE ROLE bridge LOGIN PASSWORD '$(cat /run/secrets/target_password)';
	GRANT CONNECT, CREATE ON DATABASE shop TO bridge;
EOSQL
