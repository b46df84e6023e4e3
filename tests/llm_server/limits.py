"""Quotas as token buckets, told in each vendor's headers."""

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from tests.llm_server.asked import Vendor


@dataclass
class Bucket:
    """One quota: it fills at an even pace up to a few seconds' worth."""

    level: float = math.inf
    filled_at_s: float = 0.0
    per_s: float = 1.0
    capacity: float = 1.0

    def fill(self, now_s: float, per_minute: float, capacity_s: float) -> None:
        """Add what has come since the last call; a bucket holds at least one."""
        self.per_s = per_minute / 60
        self.capacity = max(1.0, self.per_s * capacity_s)
        self.level = min(self.capacity, self.level + (now_s - self.filled_at_s) * self.per_s)
        self.filled_at_s = now_s

    def wait_s(self, cost: float) -> float:
        """Time until `cost` is there; what is dearer than a full bucket waits for a full bucket and leaves a debt."""
        return max(0.0, (min(cost, self.capacity) - self.level) / self.per_s)

    @property
    def full_in_s(self) -> float:
        """Time until it is full."""
        return (self.capacity - self.level) / self.per_s


@dataclass
class Limits:
    """Both quotas of a server."""

    requests: Bucket = field(default_factory=Bucket)
    tokens: Bucket = field(default_factory=Bucket)

    def admit(self, quotas: dict[str, tuple[float, float]], capacity_s: float, now_s: float) -> float:
        """0 where the request may pass, and is then counted; else the seconds that it has to wait.

        quotas: for "requests" and "tokens", where limited, the quota per minute and the request's cost.
        """
        wait_s = 0.0
        for name, (per_minute, cost) in quotas.items():
            self._bucket(name).fill(now_s, per_minute, capacity_s)
            wait_s = max(wait_s, self._bucket(name).wait_s(cost))
        if wait_s == 0.0:
            for name, (_, cost) in quotas.items():
                self._bucket(name).level -= cost
        return wait_s

    def headers(self, vendor: Vendor, quotas: dict[str, tuple[float, float]]) -> dict[str, str]:
        """What is left, in the vendor's headers, after the last `admit`."""
        headers: dict[str, str] = {}
        for name, (per_minute, _) in quotas.items():
            bucket = self._bucket(name)
            limit, remaining = f"{per_minute:.0f}", str(max(0, int(bucket.level)))
            if vendor == "openai":
                reset = go_duration(bucket.full_in_s)
                told = {f"limit-{name}": limit, f"remaining-{name}": remaining, f"reset-{name}": reset}
                headers |= {f"x-ratelimit-{key}": value for key, value in told.items()}
            else:
                told = {"limit": limit, "remaining": remaining, "reset": rfc3339(bucket.full_in_s)}
                headers |= {f"anthropic-ratelimit-{name}-{key}": value for key, value in told.items()}
        return headers

    def _bucket(self, name: str) -> Bucket:
        return self.requests if name == "requests" else self.tokens


def go_duration(seconds: float) -> str:
    """As OpenAI writes time spans: 10ms, 8.64s, 6m0s, 1h0m0s."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    text = f"{rest:.3f}".rstrip("0").rstrip(".") + "s"
    return (f"{hours}h" if hours else "") + (f"{minutes}m" if hours or minutes else "") + text


def rfc3339(from_now_s: float) -> str:
    """A time from now in whole seconds, rounded up, as Anthropic writes times."""
    at = datetime.now(UTC) + timedelta(seconds=from_now_s)
    whole = at.replace(microsecond=0)
    return (whole if whole == at else whole + timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
