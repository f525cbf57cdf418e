"""Measurements of ScaiQueue against floors and peers. `python -m loadtest.bench --help`."""
