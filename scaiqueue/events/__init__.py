"""What happened, told to whoever listens, from the rows that the journal made."""
