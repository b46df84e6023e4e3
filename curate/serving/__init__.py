"""The trained Aligner as an OpenAI-compatible endpoint in front of any model."""
