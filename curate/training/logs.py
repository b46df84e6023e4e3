"""Where the lines of a training go as they happen: to several logs at once, and samples to people who watch."""

from collections.abc import Callable, Mapping
from typing import Any

from curate.training.samples import in_a_line
from curate.training.speed import Log


class Logs:
    """Several logs as one."""

    def __init__(self, *logs: Log) -> None:
        self._logs = logs

    def write(self, values: Mapping[str, Any]) -> None:
        """Hand the line to each."""
        for log in self._logs:
            log.write(values)

    def close(self) -> None:
        """Close each."""
        for log in self._logs:
            log.close()


class EvaluationsSaid:
    """Says each held-out loss, and each sample correction as a word diff. answers: of the rows, by id."""

    def __init__(self, say: Callable[[str], None], answers: Mapping[str, str]) -> None:
        self._say, self._answers = say, answers

    def write(self, values: Mapping[str, Any]) -> None:
        """Say what an evaluation found; any other line is not ours."""
        if "held_out_loss" in values:
            where = f"{values['phase']}: after step {values['step']:,} (epoch {values['epoch']})"
            self._say(f"{where} the held-out loss is {values['held_out_loss']:.3f} nats/token")
        if "aligner_correction" in values:
            answer, correction = self._answers[values["triple_id"]], values["aligner_correction"]
            what = "copied" if answer == correction else "changed" if values["has_ended"] else "changed, and cut"
            self._say(f"  {values['triple_id'][:8]} {what}: {in_a_line(answer, correction)}")

    def close(self) -> None:
        """There is nothing to close."""
