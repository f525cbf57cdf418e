"""The SAQ worker and one file per system agent."""
