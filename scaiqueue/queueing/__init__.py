"""The façade: one module a verb; checks the call, runs one script, shapes the answer."""
