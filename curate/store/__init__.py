"""The run directory: tables that appear whole or not at all, manifests, the writer's lock."""
