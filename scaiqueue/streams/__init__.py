"""Streams: chunks that come one by one, are followed as they come, and in the end are one message."""
