"""Pace and width on a simulated clock: a quota is used, never passed; too much is answered by half."""

import bisect
import random
from collections.abc import Callable

import pytest

from curate.asking.pace import CATCH_UP_S, Pace, Width
from schemas.records import RateLimits


def send(pace: Pace, until_s: float, tokens: float = 0.0, late_s: Callable[[], float] = lambda: 0.0) -> list[float]:
    """When calls go that are always ready; a wait ends `late_s` later than asked for."""
    now, sent = 0.0, []
    while now < until_s:
        if wait_s := pace.wait_s(now):
            now += wait_s + late_s()
            continue
        pace.take(now, tokens)
        sent.append(now)
    return sent


def most_within(sent: list[float], window_s: float) -> int:
    """The highest number of calls in any window, wherever it begins."""
    return max(bisect.bisect_left(sent, at + window_s) - number for number, at in enumerate(sent))


def test_a_quota_of_6000_a_minute_is_used_and_never_passed():
    sent = send(Pace(6000, None), 60.0)
    assert 0.95 * 6000 <= len(sent) <= 6000
    assert most_within(sent, 1.0) <= 101


@pytest.mark.parametrize("per_minute", [1, 7, 60, 600, 6000, 60_000])
def test_any_quota_is_used_and_never_passed(per_minute):
    sent = send(Pace(per_minute, None), 300.0)
    assert len(sent) >= 0.95 * 5 * per_minute
    assert most_within(sent, 60.0) <= per_minute


def test_a_machine_that_wakes_late_keeps_the_pace():
    draws = random.Random(0)
    sent = send(Pace(6000, None), 60.0, late_s=lambda: draws.uniform(0, CATCH_UP_S / 2))
    assert len(sent) >= 0.95 * 6000
    assert most_within(sent, 60.0) <= 6000


def test_after_a_pause_the_pace_begins_anew_and_nothing_is_made_up():
    pace = Pace(6000, None)
    before = send(pace, 10.0)
    sent = [*before, *_later(pace, at=25.0, until_s=30.0)]
    assert most_within(sent, 1.0) <= 101


def _later(pace: Pace, at: float, until_s: float) -> list[float]:
    now, sent = at, []
    while now < until_s:
        now += pace.wait_s(now)
        pace.take(now, 0.0)
        sent.append(now)
    return sent


def test_without_limits_every_call_goes_at_once():
    pace = Pace(None, None)
    for _ in range(1000):
        pace.take(0.0, 1e9)
    assert pace.wait_s(0.0) == 0.0


def test_tokens_limit_calls_as_requests_do():
    sent = send(Pace(None, 60_000), 60.0, tokens=100)
    assert 0.95 * 600 <= len(sent) <= 600


def test_the_tighter_of_two_limits_holds():
    assert len(send(Pace(6000, 60_000), 60.0, tokens=100)) <= 600
    assert len(send(Pace(60, 60_000), 60.0, tokens=100)) <= 60


def test_tokens_that_were_not_used_are_given_back():
    pace = Pace(None, 60_000)
    pace.take(0.0, 2000)
    assert pace.wait_s(0.0) == pytest.approx(2.02)
    pace.settle(2000, 100)
    assert pace.wait_s(0.0) == pytest.approx(0.101)


def test_tokens_that_were_used_on_top_are_waited_for():
    pace = Pace(None, 60_000)
    pace.take(0.0, 100)
    pace.settle(100, 1100)
    assert pace.wait_s(0.0) == pytest.approx(1.111)


def test_settled_tokens_use_the_whole_quota():
    pace, now, used = Pace(None, 60_000), 0.0, 0
    while now < 60.0:
        now += pace.wait_s(now)
        pace.take(now, 3000)
        pace.settle(3000, 250)
        used += 250
    assert 0.95 * 60_000 <= used <= 60_000 + 250


def test_headers_tell_what_the_configuration_leaves_open():
    pace = Pace(None, None)
    pace.learn(RateLimits(6000, 60_000), now=0.0)
    assert len(send(pace, 60.0, tokens=100)) <= 600


def test_the_configuration_is_stronger_than_headers():
    pace = Pace(60, None)
    pace.learn(RateLimits(requests_per_minute=6000), now=0.0)
    assert len(send(pace, 60.0)) <= 60


def test_a_later_header_replaces_an_earlier_one():
    pace = Pace(None, None)
    pace.learn(RateLimits(requests_per_minute=60), now=0.0)
    pace.learn(RateLimits(requests_per_minute=6000), now=0.0)
    assert len(send(pace, 60.0)) > 5700


@pytest.mark.parametrize(
    ("wait_s", "waited_s"), [(None, 0.0), (0.0, 0.0), (12.5, 12.5), (3600.0, 60.0), (float("inf"), 60.0)]
)
def test_a_server_without_room_is_waited_for_a_minute_at_most(wait_s, waited_s):
    pace = Pace(None, None)
    pace.learn(RateLimits(wait_s=wait_s), now=100.0)
    assert pace.wait_s(100.0) == waited_s


def test_an_empty_header_changes_nothing():
    pace = Pace(None, None)
    pace.learn(RateLimits(60, 60), now=0.0)
    pace.learn(RateLimits(), now=0.0)
    assert len(send(pace, 60.0)) <= 60


def test_the_width_is_all_at_first():
    assert Width(64).calls == 64


def test_calls_that_were_in_flight_together_halve_the_width_once():
    width = Width(64)
    for sent_at in (0.0, 0.1, 0.2, 0.9):
        width.narrow(sent_at, now=1.0)
    assert width.calls == 32
    width.narrow(sent_at=1.0, now=2.0)
    assert width.calls == 16


def test_the_width_is_never_less_than_one_call():
    width = Width(8)
    for second in range(20):
        width.narrow(second, second)
    assert width.calls == 1


def test_a_round_of_answers_widens_by_a_thirty_second_of_the_most():
    width = Width(320)
    width.narrow(0.0, 1.0)
    for _ in range(160):
        width.widen()
    assert 169 <= width.calls <= 170


@pytest.mark.parametrize("most", [1, 2, 5, 32, 500])
def test_the_width_recovers_from_any_depth_and_stays_within_its_bounds(most):
    width = Width(most)
    for second in range(20):
        width.narrow(second, second)
    answers = 0
    while width.calls < most:
        width.widen()
        answers += 1
        assert 1 <= width.calls <= most
    assert answers <= 40 * most
    for _ in range(1000):
        width.widen()
    assert width.calls == most
