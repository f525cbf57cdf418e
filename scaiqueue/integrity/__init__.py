"""Compares index and rows, names each way in which they differ, and puts right what is safe."""
