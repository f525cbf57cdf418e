"""Erasure: what is known of a person leaves every table and every key; ids, states and times stay."""
