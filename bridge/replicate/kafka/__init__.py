"""Changes that Debezium wrote to Kafka: a group of consumers applies them, one process leads."""
