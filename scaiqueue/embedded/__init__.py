"""The embedded default: a private Valkey server."""
