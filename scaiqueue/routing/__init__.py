"""Routing rules: what callers write, checked and compiled for the scripts that obey them."""
