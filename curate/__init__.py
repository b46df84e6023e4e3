"""From raw prompts to a released question-answer-correction data set and a trained Aligner."""

__version__ = "0.1.0"
