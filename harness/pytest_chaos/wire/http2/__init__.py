"""HTTP/2 and gRPC: relayed frame by frame, header blocks re-encoded; one stream, one attempt."""
