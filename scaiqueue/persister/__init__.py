"""Writes the journal into rows, in order, in one transaction a batch."""
