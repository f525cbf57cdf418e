"""Events sent to the URLs of others: at least once, and in order for each message."""
