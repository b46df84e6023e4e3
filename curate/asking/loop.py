"""The event loop of calls: it looks at a few sockets, then at everybody else, then at a few more."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")

SOCKETS_AT_ONCE = 16
"""Replies that come together would else be read together, written down together and followed by calls that go together,
and so come back together: a wave never spreads. 256 calls in flight reach 3 to 9 % more throughput so (2026-11-25).
"""


def run_calls(work: Coroutine[Any, Any, Result]) -> Result:
    """As asyncio.run."""
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(_FewAtOnce())) as runner:
        return runner.run(work)


class _FewAtOnce(selectors.DefaultSelector):
    """What is left out is still ready the next time: selectors tell a state, not its change."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Some of the sockets that are ready."""
        return super().select(timeout)[:SOCKETS_AT_ONCE]
