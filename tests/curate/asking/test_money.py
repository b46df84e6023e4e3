"""Money to the nano-USD: costs are exact, limits are hard, and what is reserved is always given back."""

import random
from decimal import Decimal
from fractions import Fraction

import pytest

from curate.asking.money import Room, account, nano_usd, reserve, settle, usage, worst_case_nano_usd
from curate.config.calls import CallConfig, Price, SamplingConfig
from curate.ledger.journal import Usage
from schemas.records import Completion, CompletionRequest

PRICE = Price(input=Decimal("2.50"), output=Decimal("10"), cached=Decimal("1.25"))


def config(price: Price | None = PRICE, mode: str = "online", max_tokens: int = 100) -> CallConfig:
    return CallConfig(provider="openai", price=price, mode=mode, sampling=SamplingConfig(max_tokens=max_tokens))


@pytest.mark.parametrize(
    ("tokens", "cost"),
    [
        ((0, 0, 0), 0),
        ((1_000_000, 0, 0), 2_500_000_000),
        ((0, 0, 1_000_000), 10_000_000_000),
        ((1_000_000, 1_000_000, 0), 1_250_000_000),
        ((1000, 600, 7), 1000 * 1000 + 600 * 1250 + 70_000),
        ((10, 99, 0), 12_500),
    ],
)
def test_a_call_costs_its_fresh_cached_and_output_tokens(tokens, cost):
    assert nano_usd(PRICE, *tokens, is_batch=False) == cost


def test_cached_tokens_cost_as_input_where_no_price_is_given():
    price = Price(input=Decimal(3), output=Decimal(15))
    assert nano_usd(price, 100, 40, 0, is_batch=False) == nano_usd(price, 100, 0, 0, is_batch=False)


@pytest.mark.parametrize(("factor", "cost"), [("0.5", 1_250_000), ("1", 2_500_000), ("0", 0), ("0.333", 832_500)])
def test_a_batch_costs_its_share(factor, cost):
    price = Price(input=Decimal("2.50"), output=Decimal(10), batch_factor=Decimal(factor))
    assert nano_usd(price, 1000, 0, 0, is_batch=True) == cost
    assert nano_usd(price, 1000, 0, 0, is_batch=False) == 2_500_000


def test_part_of_a_nano_usd_is_rounded_up():
    assert nano_usd(Price(input=Decimal("0.0001"), output=Decimal(0)), 1, 0, 0, is_batch=False) == 1
    assert nano_usd(Price(input=Decimal("0.0001"), output=Decimal(0)), 10, 0, 0, is_batch=False) == 1
    assert nano_usd(Price(input=Decimal("0.0001"), output=Decimal(0)), 11, 0, 0, is_batch=False) == 2


def test_costs_are_those_of_exact_fractions():
    draws = random.Random(0)
    for _ in range(500):
        per_input, per_output = (Decimal(draws.randrange(10**9)).scaleb(-6) for _ in range(2))
        tokens_in, tokens_out = draws.randrange(10**6), draws.randrange(10**6)
        exact = (Fraction(per_input) * tokens_in + Fraction(per_output) * tokens_out) * 1000
        found = nano_usd(Price(input=per_input, output=per_output), tokens_in, 0, tokens_out, is_batch=False)
        assert found == -(-exact.numerator // exact.denominator)


def test_a_thousand_calls_of_a_tenth_of_a_cent_are_one_usd():
    price = Price(input=Decimal("0.1"), output=Decimal(0))
    assert 1000 * nano_usd(price, 10_000, 0, 0, is_batch=False) == 10**9


def test_the_worst_case_takes_each_byte_as_a_token_and_the_longest_answer():
    request = CompletionRequest("0" * 64, "openai", "m", "é".encode() * 50)
    assert worst_case_nano_usd(request, config()) == 100 * 2500 + 100 * 10_000
    assert worst_case_nano_usd(request, config(mode="batch")) == (100 * 2500 + 100 * 10_000) / 2
    assert worst_case_nano_usd(request, config(price=None)) == 0


def test_a_reply_costs_what_its_server_says():
    assert usage(Completion("x", "stop", 1000, 7, 600), config(), 9) == Usage(1000, 7, 1_820_000, 600)
    assert usage(Completion("x", "stop", 1000, 7, 600), config(price=None), 9) == Usage(1000, 7, 0, 600)


@pytest.mark.parametrize("odd", [None, -1, 2**31, 2**70, 3.0, "12", True, [], float("nan")])
def test_a_reply_that_does_not_say_what_it_used_costs_the_worst_case(odd):
    assert usage(Completion("x", "stop", odd, 7), config(), 999) == Usage(None, 7, 999)
    assert usage(Completion("x", "stop", 7, odd), config(), 999) == Usage(7, None, 999)


@pytest.mark.parametrize("odd", [None, -1, 2**31, 3.0, "12", True])
def test_odd_cached_tokens_count_as_none(odd):
    assert usage(Completion("x", "stop", 10, 0, odd), config(), 999) == Usage(10, 0, 25_000, None)


def test_the_cost_of_a_reply_is_never_more_than_the_worst_case():
    draws = random.Random(1)
    for _ in range(300):
        body, answer = draws.randrange(1, 5000), draws.randrange(101)
        cached = draws.randrange(body + 1)
        worst = worst_case_nano_usd(CompletionRequest("0" * 64, "openai", "m", b"x" * body), config())
        assert usage(Completion("x", "stop", body, answer, cached), config(), worst).cost_nano_usd <= worst


@pytest.mark.parametrize(
    ("limit_usd", "spent", "reserved", "more", "room"),
    [
        (None, 10**12, 10**12, 10**12, Room.NOW),
        (Decimal(1), 0, 0, 10**9, Room.NOW),
        (Decimal(1), 0, 0, 10**9 + 1, Room.NEVER),
        (Decimal(1), 0, 1, 10**9, Room.LATER),
        (Decimal(1), 10**9, 0, 1, Room.NEVER),
        (Decimal(1), 10**9, 0, 0, Room.NOW),
        (Decimal(0), 0, 0, 0, Room.NOW),
        (Decimal("0.000000001"), 0, 0, 1, Room.NOW),
    ],
)
def test_a_limit_leaves_room_now_later_or_never(limit_usd, spent, reserved, more, room):
    one = account("the stage", limit_usd, spent)
    one.reserved_nano_usd = reserved
    assert one.room(more) is room


def test_what_one_account_refuses_is_reserved_on_none():
    rich, poor = account("the run", Decimal(1), 0), account("the model", Decimal("0.1"), 0)
    assert reserve([rich, poor], 2 * 10**8) == (Room.NEVER, "the model")
    assert (rich.reserved_nano_usd, poor.reserved_nano_usd) == (0, 0)


def test_never_is_told_before_later():
    full, poor = account("the run", Decimal(1), 0), account("the model", Decimal("0.1"), 0)
    full.reserved_nano_usd = 10**9
    assert reserve([full, poor], 2 * 10**8) == (Room.NEVER, "the model")


def test_a_limit_is_never_passed_and_all_reservations_come_back():
    for seed in range(50):
        draws = random.Random(seed)
        accounts = [account("the run", Decimal("0.000010"), 0), account("the model", Decimal("0.000007"), 0)]
        held: list[int] = []
        for _ in range(300):
            if held and draws.random() < 0.5:
                worst = held.pop(draws.randrange(len(held)))
                settle(accounts, worst, draws.randrange(worst + 1))
            elif reserve(accounts, worst := draws.randrange(1, 900))[0] is Room.NOW:
                held.append(worst)
            for one in accounts:
                assert one.spent_nano_usd + one.reserved_nano_usd <= one.limit_nano_usd
        for worst in held:
            settle(accounts, worst, 0)
        assert {one.reserved_nano_usd for one in accounts} == {0}
