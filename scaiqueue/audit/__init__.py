"""The audit: who called what, with which outcome, in rows that are chained by hashes."""
