"""People as annotators: they correct answers in Label Studio."""
