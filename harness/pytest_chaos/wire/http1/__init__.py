"""HTTP/1.1: heads parsed by httptools, bodies counted by their framing, the bytes passed as they are."""
