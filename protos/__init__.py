"""Generated gRPC code of the shop; `make protos` writes it anew from the .proto files beside it."""
