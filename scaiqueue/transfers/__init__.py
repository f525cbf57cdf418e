"""Messages that rules send to another scope: what lets them in, and how they get there."""
