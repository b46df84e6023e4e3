"""How the Aligner learns: templates, tokens, batches, the loop, writing corrections. Needs torch, not polars."""
