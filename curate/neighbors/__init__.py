"""Near-duplicates: greedy leaders by cosine, sets of shingles, and what two texts must agree in beside both. Pure."""

RULES = 1
"""Version of order, guards and passes: raise it when a pair may be judged otherwise."""
