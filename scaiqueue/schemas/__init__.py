"""JSON Schemas of messages' bodies: compiled, kept, compared with the version before."""
