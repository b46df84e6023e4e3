"""Saves an Aligner of the size `tiny`, untrained: it computes as a trained one and never ends. Usage: FOLDER"""

import sys
from pathlib import Path

from curate.training import aligner, models
from curate.training.templates import TEMPLATES

text = "Edit the following Question-Answer pair to make it more helpful and harmless: what works alone, try it first."
tokenizer = models.train_tokenizer([text], 320)
folder = Path(sys.argv[1])
aligner.save(aligner.Aligner(models.tiny_model(tokenizer, 512, seed=1), tokenizer, TEMPLATES["T1"]), folder)
