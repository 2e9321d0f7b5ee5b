# Read by the entrypoint of MySQL's and MariaDB's image when it makes the data, never run itself.
# shellcheck shell=bash
# Rights: those that `dbbridge check` asks for; and Debezium's, from its connector's manual.
docker_process_sql <<-EOSQL
	CREATE USER 'bridge'@'%' IDENTIFIED BY '$(cat /run/secrets/source_password)';
	GRANT SELECT, LOCK TABLES ON shop.* TO 'bridge'@'%';
	GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO 'bridge'@'%';
	CREATE USER 'debezium'@'%' IDENTIFIED BY '$(cat /run/secrets/debezium_password)';
	GRANT SELECT, LOCK TABLES ON shop.* TO 'debezium'@'%';
	GRANT RELOAD, SHOW DATABASES, REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO 'debezium'@'%';
EOSQL
