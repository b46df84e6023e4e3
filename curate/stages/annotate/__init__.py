"""Annotate: each pair goes to annotators, who write the better answer; gates and a judge say which corrections stay.

recipes: who works here and what they are told. routing: who gets which pair. correcting: critiques and corrections.
comparing: the judge. deciding: which corrections stay. measuring: reports and agreement. stage: all of it in order.
"""

from curate.stages.annotate.correcting import NAME
from curate.stages.annotate.stage import dry_run, key, run

__all__ = ["NAME", "dry_run", "key", "run"]
