"""The least that could do the same: what the benchmark measures against."""
