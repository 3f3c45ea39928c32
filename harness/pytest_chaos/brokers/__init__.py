"""Brokers: one file a kind. How it is started, how its clients reach it, and what an observer of our own sees in it."""
