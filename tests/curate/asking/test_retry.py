"""What follows a fault: again after a pause, a failure row, or the end of the provider."""

import itertools
import random

import pytest

from curate.asking.retry import LONGEST_PAUSE_S, Decision, Next, Policy, counts, decide, is_parked
from schemas.errors import ProviderBusyError, ProviderDownError, RequestError

POLICY = Policy(max_attempts=3, longest_wait_s=120.0, give_up_after_s=600.0)


def busy(kind: str = "server_error", retry_after_s: float | None = None) -> ProviderBusyError:
    return ProviderBusyError(kind, "busy", retry_after_s)


def after(error: RequestError, *, attempts: int = 1, faults: int = 1, elapsed_s: float = 0.0, draw: float = 1.0):
    return decide(error, POLICY, attempts, faults, elapsed_s, draw)


@pytest.mark.parametrize(
    ("error", "attempts", "following"),
    [
        (busy(), 1, Next.AGAIN),
        (busy(), 2, Next.AGAIN),
        (busy(), 3, Next.FAIL),
        (busy("rate_limited"), 0, Next.AGAIN),
        (busy("timeout"), 2, Next.AGAIN),
        (RequestError("refused_request", "too long"), 1, Next.FAIL),
        (ProviderDownError("unauthorized", "401"), 1, Next.STOP),
        (ProviderDownError("no_quota", "402"), 3, Next.STOP),
    ],
)
def test_what_follows_depends_on_the_fault_and_the_attempts_left(error, attempts, following):
    assert after(error, attempts=attempts).next is following


@pytest.mark.parametrize(
    ("kind", "is_counted"), [("rate_limited", False), ("overloaded", True), ("timeout", True), ("unreachable", True)]
)
def test_a_rate_limit_alone_costs_no_attempt(kind, is_counted):
    assert counts(busy(kind)) is is_counted


def test_pauses_double_until_the_longest():
    pauses = [after(busy(), faults=faults).pause_s for faults in range(1, 12)]
    assert pauses[:8] == [0.5, 1, 2, 4, 8, 16, 32, 60]
    assert set(pauses[8:]) == {LONGEST_PAUSE_S}


def test_the_draw_spreads_a_pause_over_its_upper_half():
    assert after(busy(), faults=3, draw=0.0).pause_s == 1.0
    assert after(busy(), faults=3, draw=1.0).pause_s == 2.0


def test_a_thousand_faults_still_give_a_finite_pause():
    assert after(busy(), faults=1000).pause_s == LONGEST_PAUSE_S


@pytest.mark.parametrize(("asked_s", "pause_s"), [(0.05, 0.05), (7.0, 7.0), (120.0, 120.0), (86400.0, 120.0)])
def test_a_server_is_obeyed_up_to_the_longest_wait(asked_s, pause_s):
    assert after(busy("rate_limited", asked_s)).pause_s == pause_s


def test_the_pause_grows_no_longer_than_the_longest_wait():
    hurried = Policy(max_attempts=9, longest_wait_s=2.0, give_up_after_s=600.0)
    assert decide(busy(), hurried, 1, 9, 0.0, 1.0).pause_s == 2.0


@pytest.mark.parametrize(("elapsed_s", "following"), [(592.9, Next.AGAIN), (593.1, Next.FAIL)])
def test_a_pause_that_would_end_too_late_is_a_failure_now(elapsed_s, following):
    assert after(busy("rate_limited", 7.0), elapsed_s=elapsed_s).next is following


@pytest.mark.parametrize(
    ("error", "is_for_all"),
    [
        (busy("rate_limited", 5.0), True),
        (busy("overloaded", 5.0), True),
        (busy("rate_limited"), False),
        (busy("server_error", 5.0), False),
    ],
)
def test_only_a_server_that_names_a_pause_for_too_much_holds_up_all(error, is_for_all):
    assert after(error).is_for_all is is_for_all


@pytest.mark.parametrize(
    ("error", "parked"),
    [
        (busy("rate_limited", 121.0), True),
        (busy("rate_limited", 120.0), False),
        (busy("rate_limited"), False),
        (ProviderDownError("no_quota", "402"), False),
    ],
)
def test_a_server_is_parked_when_it_asks_for_more_than_the_longest_wait(error, parked):
    assert is_parked(error, POLICY) is parked


def test_no_request_waits_for_ever_whatever_the_server_says():
    for seed in range(200):
        draws = random.Random(seed)
        waited_s, attempts = 0.0, 0
        for faults in itertools.count(1):
            error = busy(draws.choice(["rate_limited", "server_error"]), draws.choice([None, 0.05, 30.0, 1e9]))
            attempts += counts(error)
            decision = decide(error, POLICY, attempts, faults, waited_s, draws.random())
            if decision.next is not Next.AGAIN:
                break
            waited_s += decision.pause_s
        assert attempts <= POLICY.max_attempts
        assert waited_s <= POLICY.give_up_after_s


def test_a_decision_without_a_pause_is_for_one_call():
    assert Decision(Next.FAIL) == Decision(Next.FAIL, pause_s=0.0, is_for_all=False)
