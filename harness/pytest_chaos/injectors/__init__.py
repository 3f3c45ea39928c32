"""What carries faults out: each effect with its proof and its undo."""
