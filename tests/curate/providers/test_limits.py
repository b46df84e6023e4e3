"""What vendors' headers say of limits; odd values are ignored, never an error."""

from datetime import UTC, datetime, timedelta

import pytest

from curate.providers.limits import rate_limits, retry_after_s
from schemas.records import RateLimits


def test_openais_headers_are_read():
    headers = {
        "x-ratelimit-limit-requests": "10000",
        "x-ratelimit-limit-tokens": "2000000",
        "x-ratelimit-remaining-requests": "9999",
        "x-ratelimit-remaining-tokens": "1999000",
        "x-ratelimit-reset-requests": "6ms",
        "x-ratelimit-reset-tokens": "0s",
    }
    assert rate_limits(headers) == RateLimits(10_000, 2_000_000, None)


def test_anthropics_headers_are_read():
    reset = (datetime.now(UTC) + timedelta(seconds=30)).isoformat(timespec="seconds").replace("+00:00", "Z")
    headers = {
        "anthropic-ratelimit-requests-limit": "4000",
        "anthropic-ratelimit-requests-remaining": "0",
        "anthropic-ratelimit-requests-reset": reset,
        "anthropic-ratelimit-tokens-limit": "400000",
    }
    found = rate_limits(headers)
    assert (found.requests_per_minute, found.tokens_per_minute) == (4000, 400_000)
    assert 28 <= found.wait_s <= 30


def test_no_headers_tell_nothing():
    assert rate_limits({}) == RateLimits()


@pytest.mark.parametrize(
    ("reset", "wait_s"),
    [
        ("6m0s", 360.0),
        ("1h2m3s", 3723.0),
        ("1d", 86_400.0),
        ("10ms", 0.01),
        ("1.5s", 1.5),
        ("59.926s", 59.926),
        ("0s", 0.0),
        ("12", 12.0),
        ("0.25", 0.25),
        ("2020-01-01T00:00:00Z", 0.0),
        ("2020-01-01T00:00:00+02:00", 0.0),
    ],
)
def test_where_nothing_is_left_the_reset_is_the_wait(reset, wait_s):
    headers = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": reset}
    assert rate_limits(headers).wait_s == pytest.approx(wait_s)


@pytest.mark.parametrize(
    "reset", ["", "soon", "-1s", "-5", "nan", "inf", "6m 0s", "1y", "s", "2020-01-01T00:00:00", "1e999", "\x00"]
)
def test_an_odd_reset_is_no_wait(reset):
    headers = {"x-ratelimit-remaining-tokens": " 0 ", "x-ratelimit-reset-tokens": reset}
    assert rate_limits(headers).wait_s is None


def test_the_longest_of_two_waits_counts():
    headers = {f"x-ratelimit-remaining-{what}": "0" for what in ("requests", "tokens")}
    headers |= {"x-ratelimit-reset-requests": "2s", "x-ratelimit-reset-tokens": "1m"}
    assert rate_limits(headers).wait_s == 60.0


@pytest.mark.parametrize("left", ["1", "17", "-1", "none", ""])
def test_where_something_is_left_nobody_waits(left):
    headers = {"x-ratelimit-remaining-requests": left, "x-ratelimit-reset-requests": "1m"}
    assert rate_limits(headers).wait_s is None


@pytest.mark.parametrize("limit", ["", "0", "-5", "nan", "inf", "-inf", "many", "1,000", "1e999", "0x10", "9" * 5000])
def test_an_odd_limit_is_none(limit):
    assert rate_limits({"x-ratelimit-limit-requests": limit}).requests_per_minute is None


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
def test_the_ends_of_the_calendar_are_no_error(moment):
    headers = {"anthropic-ratelimit-tokens-remaining": "0", "anthropic-ratelimit-tokens-reset": moment}
    assert rate_limits(headers).wait_s >= 0


@pytest.mark.parametrize(
    ("header", "asked_s"),
    [
        ("7", 7.0),
        ("0.5", 0.5),
        ("86400", 86_400.0),
        ("0", 0.05),
        ("-3", 0.05),
        ("", None),
        ("soon", None),
        ("Wed, 99 Xyz 2015 07:28:00 GMT", None),
        ("Wed, 21 Oct 2015 07:28:00 -0000", None),
        ("nan", None),
        ("inf", None),
    ],
)
def test_a_retry_after_is_seconds_and_never_none_at_all(header, asked_s):
    assert retry_after_s({"retry-after": header}) == asked_s


def test_without_a_retry_after_nothing_is_asked():
    assert retry_after_s({}) is None


def test_a_retry_after_may_be_a_date():
    at = (datetime.now(UTC) + timedelta(seconds=30)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    assert 28 <= retry_after_s({"retry-after": at}) <= 30
    assert retry_after_s({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0.05
