"""OTLP without OpenTelemetry's libraries: received as raw bytes, decoded when asked, with what is missing."""
