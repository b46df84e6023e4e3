"""The one thread in which the Aligners work: it takes what waits, up to a batch, and corrects it at once."""

import queue
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from curate.serving.metrics import Metrics
from curate.serving.settings import Settings
from curate.serving.stacking import Corrected, Shown, correct_all
from curate.training.aligner import Aligner


@dataclass(frozen=True, slots=True)
class Job:
    """One answer that waits; a cancelled one is not corrected any more."""

    shown: Shown
    done: Future[Corrected] = field(default_factory=Future)


class Corrector:
    """Aligners in a thread of their own. The models are used by that thread alone."""

    def __init__(self, aligners: Sequence[Aligner], settings: Settings, metrics: Metrics) -> None:
        self._aligners, self._settings, self._metrics = list(aligners), settings, metrics
        self._waiting: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="aligner", daemon=True)
        self.last_batch_s = 0.0

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def stop(self) -> None:
        """End after the batch at work; what waits is cancelled."""
        self._waiting.put(None)
        self._thread.join(self._settings.shutdown_s)

    @property
    def is_alive(self) -> bool:
        """Whether the thread works."""
        return self._thread.is_alive()

    def submit(self, shown: Shown) -> Future[Corrected]:
        """The correction to come; a failure at once where the thread has ended."""
        job = Job(shown)
        self._waiting.put(job)
        if not self.is_alive:
            self._drop()
        return job.done

    def _work(self) -> None:
        batch: list[Job] = []
        try:
            while batch := self._batch():
                started_s = time.monotonic()
                found = correct_all(self._aligners, [job.shown for job in batch], self._settings.new_tokens_at_most)
                self.last_batch_s = time.monotonic() - started_s
                self._metrics.observe("curate_batch_rows", len(batch))
                for job, one in zip(batch, found, strict=True):
                    job.done.set_result(one)
                batch.clear()
        finally:  # whatever ended the thread, nobody waits for it in vain
            for job in batch:
                job.done.set_result(Corrected("", "stopped"))
            self._drop()

    def _batch(self) -> list[Job]:
        """What waits now and within the next moments; empty when the thread is to end."""
        batch: list[Job] = []
        ends_s = float("inf")
        while len(batch) < self._settings.batch_rows:
            try:
                job = self._waiting.get(timeout=max(0.0, ends_s - time.monotonic()) if batch else None)
            except queue.Empty:
                return batch
            if job is None:
                self._waiting.put(None)  # after this batch
                return batch
            if job.done.set_running_or_notify_cancel():
                batch.append(job)
                ends_s = min(ends_s, time.monotonic() + self._settings.batch_wait_s)
        return batch

    def _drop(self) -> None:
        while True:
            try:
                job = self._waiting.get_nowait()
            except queue.Empty:
                return
            if job is not None and job.done.set_running_or_notify_cancel():
                job.done.set_result(Corrected("", "stopped"))
