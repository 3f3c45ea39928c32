"""Byte faults: Toxiproxy's toxics under their own names, and more; a chain of stages a direction."""
