"""Publishing and consuming through the rows while Redis is away: the one place outside lua/ that decides a
transition."""
