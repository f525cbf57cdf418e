"""The scripts as package data."""
