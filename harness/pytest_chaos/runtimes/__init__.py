"""How a node runs: as a process group, or in a container; the keeper owns them all through one narrow port."""
