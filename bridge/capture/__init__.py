"""From MySQL: catalogue, snapshot, binlog."""
