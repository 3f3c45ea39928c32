"""Kafka's protocol, cut into frames and read as calls; addresses rewritten where others started the Kafka."""
