"""RESP2 and RESP3, the protocol of Redis, cut into values and read as calls."""
