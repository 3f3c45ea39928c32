"""Brokers' protocols, whatever they are: what a reader tells, and faults played on the calls in it."""
