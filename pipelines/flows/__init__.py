"""One file per job: its story, read top to bottom. Adapters come in through ``ports``, wired in ``bootstrap``."""
