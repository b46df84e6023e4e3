"""Counters and histograms in Prometheus' text format."""

import threading
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
ROWS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)

COUNTERS = {
    "curate_requests_total": "Requests by route and status.",
    "curate_answers_total": "Answers by what became of them: corrected, unchanged, failed (given as they came), "
    "withheld, passed (no finished text).",
    "curate_failures_total": "Answers that the Aligner could not correct, by reason.",
}
HISTOGRAMS = {
    "curate_request_seconds": ("Seconds of a request, to its last byte.", SECONDS),
    "curate_upstream_seconds": ("Seconds until the upstream's whole answer.", SECONDS),
    "curate_aligner_seconds": ("Seconds of correcting, waiting for a batch included.", SECONDS),
    "curate_batch_rows": ("Answers that the Aligner corrected in one batch.", ROWS),
}


class Metrics:
    """Counts of one process; any thread may add to them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[tuple[str, str], int] = defaultdict(int)
        self._buckets = {name: [0] * (len(bounds) + 1) for name, (_, bounds) in HISTOGRAMS.items()}
        self._sums = dict.fromkeys(HISTOGRAMS, 0.0)

    def count(self, name: str, labels: Mapping[str, str]) -> None:
        """Add one. Values of labels come from our own words, never from texts."""
        told = ",".join(f'{key}="{value}"' for key, value in labels.items())
        with self._lock:
            self._counts[name, told] += 1

    def observe(self, name: str, value: float) -> None:
        """Add a value to a histogram."""
        with self._lock:
            self._buckets[name][bisect_left(HISTOGRAMS[name][1], value)] += 1
            self._sums[name] += value

    def text(self, waiting: int) -> str:
        """Everything, and the number of requests in the house."""
        lines = ["# HELP curate_waiting Requests at the upstream or at the Aligner.", "# TYPE curate_waiting gauge"]
        lines.append(f"curate_waiting {waiting}")
        with self._lock:
            for name, what in COUNTERS.items():
                lines += [f"# HELP {name} {what}", f"# TYPE {name} counter"]
                counts = sorted((told, count) for (one, told), count in self._counts.items() if one == name)
                lines += [f"{name}{{{told}}} {count}" for told, count in counts]
            for name, (what, bounds) in HISTOGRAMS.items():
                lines += [f"# HELP {name} {what}", f"# TYPE {name} histogram", *self._histogram(name, bounds)]
        return "\n".join(lines) + "\n"

    def _histogram(self, name: str, bounds: tuple[float, ...]) -> list[str]:
        lines, total = [], 0
        for bound, count in zip((*(f"{one:g}" for one in bounds), "+Inf"), self._buckets[name], strict=True):
            total += count
            lines.append(f'{name}_bucket{{le="{bound}"}} {total}')
        return [*lines, f"{name}_sum {self._sums[name]:.6f}", f"{name}_count {total}"]
