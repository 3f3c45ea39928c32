"""What a hop through wire costs, beside no hop, Toxiproxy and Envoy: a load, a server or broker, a proxy between."""
