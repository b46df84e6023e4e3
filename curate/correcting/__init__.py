"""A trained Aligner corrects the rows of a file."""
