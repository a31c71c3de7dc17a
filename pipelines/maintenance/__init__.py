"""Upkeep: what is to be merged, retired or removed, and whether a job is too far behind. Decisions only, no I/O."""
