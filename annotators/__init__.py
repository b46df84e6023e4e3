"""Who writes corrections, and by which principles. Imports schemas alone: a provider is handed in."""
