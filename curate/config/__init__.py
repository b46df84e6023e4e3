"""The typed configuration, how `pipelines.toml` is read into it, and the reference page made from it."""
