"""Annotate: each pair goes to annotators, who write the better answer; gates and a judge say which corrections stay.

recipes: who works here and what they are told. routing, planning: who gets which pair. correcting: critiques and
corrections. people: their work in Label Studio. comparing: the judge. deciding: which corrections stay. measuring:
reports and agreement. stage, work: all of it in order. shown: the prompts of the documentation.
"""

from curate.stages.annotate.correcting import NAME
from curate.stages.annotate.people import fetch, offer
from curate.stages.annotate.stage import dry_run, key, run

__all__ = ["NAME", "dry_run", "fetch", "key", "offer", "run"]
