"""Reading the binary log: packets, events, rows (pure) and the connection that fetches them."""
