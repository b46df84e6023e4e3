"""The stages: the only place where effects meet. Each file has `key` (what decides whether it is done) and `run`."""
