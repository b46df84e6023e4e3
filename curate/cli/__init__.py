"""The command line: parse, call, print. Results on stdout, progress on stderr."""

from curate.cli.app import main

__all__ = ["main"]
