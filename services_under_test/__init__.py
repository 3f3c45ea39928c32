"""The shop: seven services that show how the patterns are done right, and, on request, how they are done wrong."""
