"""Texts to vectors by sentence-transformers, each text once: what is embedded is kept."""
