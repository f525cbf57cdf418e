"""Who may do what: keys, their limits, grants, ACLs of queues, trusts between scopes, and rates."""
