"""The local stack: one file per real server, each started as a process of its own."""
