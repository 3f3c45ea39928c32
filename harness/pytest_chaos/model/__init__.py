"""Words of the product as values: frozen dataclasses of the standard library, no I/O, no clock, no dice."""
