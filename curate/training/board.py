"""What TensorBoard shows of a training: event files, a folder for each phase, written as the steps happen.

tensorboard --logdir runs/NAME/train/tensorboard
"""

import time
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

from schemas.errors import MissingExtraError

TAGS = {
    "loss": "loss/training",
    "held_out_loss": "loss/held_out",
    "lr": "learning_rate",
    "tokens_per_s": "speed/tokens_per_s",
    "mfu": "speed/mfu",
    "fill": "speed/fill",
    "peak_memory_bytes": "memory/peak_bytes",
    "peak_process_bytes": "memory/peak_process_bytes",
}
"""What a line calls it, and TensorBoard."""


def require_board() -> None:
    """Raises MissingExtraError without tensorboardX."""
    try:
        import tensorboardX  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("train.tensorboard", "tensorboardX", "tensorboard") from error


class Board:
    """A log in TensorBoard's format. A run that goes on hides what an earlier one showed from its first step on."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writers: dict[str, Any] = {}

    def write(self, values: Mapping[str, Any]) -> None:
        """Show the figures of a line, and give them to the disk; one without any is not ours."""
        shown = {tag: values[name] for name, tag in TAGS.items() if values.get(name) is not None}
        if shown:
            self._write(values["phase"], values["step"], summary={"value": _values(shown)})

    def close(self) -> None:
        """Close all files."""
        for writer in self._writers.values():
            writer.close()

    def _write(self, phase: str, step: int, **content: Any) -> None:
        from tensorboardX.proto.event_pb2 import Event

        if phase not in self._writers:
            self._writers[phase] = self._started(phase, step)
        self._writers[phase].write(Event(wall_time=time.time(), step=step, **content).SerializeToString())
        self._writers[phase].flush()

    def _started(self, phase: str, step: int) -> Any:
        """A new file, whose name comes after the earlier ones; it begins with the step from which they are hidden."""
        from tensorboardX import RecordWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        folder = self._folder / phase
        folder.mkdir(parents=True, exist_ok=True)
        names = (folder / f"events.out.tfevents.{number:010d}" for number in count(len(list(folder.iterdir()))))
        writer = RecordWriter(str(next(name for name in names if not name.exists())))
        begins = Event(step=step, session_log=SessionLog(status=SessionLog.START))
        for event in (Event(wall_time=time.time(), file_version="brain.Event:2"), begins):
            writer.write(event.SerializeToString())
        return writer


def _values(shown: Mapping[str, float]) -> list[dict[str, Any]]:
    return [{"tag": tag, "simple_value": value} for tag, value in shown.items()]
