"""What client libraries see of every fault in the catalogue, observed on real servers: the source of docs/faults.md."""
