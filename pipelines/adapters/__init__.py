"""The only code that touches network or disk; wired in ``pipelines.bootstrap``."""
