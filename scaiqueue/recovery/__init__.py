"""Brings index and rows together again after a loss."""
