"""The server that other tests trust does what it says: endpoints, limits, faults, batches."""

import asyncio
import json
import re
import time
from datetime import UTC, datetime

import aiohttp
import openai
import pytest

from tests.llm_server import FATAL_KEY, FAULT_NAMES, llm_server

PATHS = {"chat": "/v1/chat/completions", "text": "/v1/completions", "messages": "/v1/messages"}
KINDS = pytest.mark.parametrize("kind", list(PATHS))


def asked(kind: str, prompt: str = "one two") -> dict:
    rest = {"prompt": prompt} if kind == "text" else {"messages": [{"role": "user", "content": prompt}]}
    return {"model": "asked-model", "max_tokens": 8, **rest}


async def posted(server, kind, prompts, timeout_s=5.0, key="key"):
    """(status, headers, body) of each prompt, all sent at once, or the exception that came instead."""
    timeout = aiohttp.ClientTimeout(total=timeout_s)
    headers = {"Authorization": f"Bearer {key}"}

    async def post(prompt):
        async with session.post(server.url + PATHS[kind], json=asked(kind, prompt)) as response:
            return response.status, response.headers, await response.read()

    async with aiohttp.ClientSession(timeout=timeout, headers=headers) as session:
        return await asyncio.gather(*(post(prompt) for prompt in prompts), return_exceptions=True)


def post(server, kind, prompt="one two", timeout_s=5.0, key="key"):
    (reply,) = asyncio.run(posted(server, kind, [prompt], timeout_s, key))
    if isinstance(reply, Exception):
        raise reply
    return reply


def text_of(kind, body):
    reply = json.loads(body)
    if kind == "messages":
        return "".join(block["text"] for block in reply["content"])
    return reply["choices"][0]["text"] if kind == "text" else reply["choices"][0]["message"]["content"]


def reason_of(kind, body):
    reply = json.loads(body)
    return reply["stop_reason"] if kind == "messages" else reply["choices"][0]["finish_reason"]


# Replies


@KINDS
def test_each_protocol_answers_with_its_model_usage_and_request_id(server, kind):
    server.cached_tokens = 3
    status, headers, body = post(server, kind)
    reply = json.loads(body)
    assert (status, reply["model"], text_of(kind, body)) == (200, "asked-model", "Answer to: one two")
    assert headers["request-id" if kind == "messages" else "x-request-id"].startswith("req_")
    if kind == "messages":
        expected = {"input_tokens": 2, "cache_read_input_tokens": 3, "output_tokens": 4}
    else:
        expected = {"prompt_tokens": 5, "prompt_tokens_details": {"cached_tokens": 3}, "completion_tokens": 4}
    assert expected.items() <= reply["usage"].items()
    assert server.asked == server.answered == {"one two": 1}


def test_the_sdks_read_the_replies(openai_client, anthropic_client, server):
    server.reports_model = "dated-model"
    chat = openai_client.chat.completions.create(**asked("chat"))
    text = openai_client.completions.create(**asked("text"))
    message = anthropic_client.messages.create(**asked("messages"))
    assert chat.choices[0].message.content == text.choices[0].text == message.content[0].text == "Answer to: one two"
    assert chat.model == text.model == message.model == "dated-model"
    assert chat.usage.total_tokens == text.usage.total_tokens == 6
    assert message._request_id.startswith("req_")
    assert message.stop_reason == "end_turn"


@pytest.mark.parametrize(("kind", "body"), [("chat", b"{"), ("chat", b"{}"), ("text", b'{"prompt": 3}')])
def test_a_body_that_is_no_request_is_refused(server, kind, body):
    async def send():
        async with aiohttp.request("POST", server.url + PATHS[kind], data=body) as response:
            return response.status, await response.json()

    status, reply = asyncio.run(send())
    assert (status, reply["error"]["type"], server.asked.total()) == (400, "invalid_request_error", 0)


def test_an_unknown_path_is_not_found(openai_client):
    with pytest.raises(openai.NotFoundError):
        openai_client.models.list()


@pytest.mark.parametrize("kind", ["chat", "messages"])
def test_the_refused_key_is_refused(server, kind):
    assert post(server, kind, key=FATAL_KEY)[0] == 401


def test_a_hook_that_blocks_holds_up_no_other_answer(server):
    server.before_answer = lambda: time.sleep(0.2)
    started = time.monotonic()
    replies = asyncio.run(posted(server, "chat", [str(number) for number in range(50)]))
    assert {status for status, *_ in replies} == {200}
    assert 0.2 <= time.monotonic() - started < 1.5


def test_latency_is_waited_for_side_by_side(server):
    server.latency_s = lambda: 0.2
    started = time.monotonic()
    asyncio.run(posted(server, "chat", [str(number) for number in range(50)]))
    assert 0.2 <= time.monotonic() - started < 1.5


def test_listed_faults_are_sent_once_each(server):
    server.faults = [(500, {"X-Told": "yes"}, b"oops"), (0, {}, b"")]
    status, headers, body = post(server, "chat")
    assert (status, headers["X-Told"], body) == (500, "yes", b"oops")
    with pytest.raises(aiohttp.ServerDisconnectedError):
        post(server, "chat")
    assert post(server, "chat")[0] == 200
    assert (server.asked.total(), server.answered.total()) == (3, 1)


def test_a_given_port_is_used_and_free_again_afterwards():
    with llm_server() as first:
        port = int(first.url.rsplit(":", 1)[1])
    with llm_server(port) as second:
        assert second.url == first.url
        assert post(second, "chat")[0] == 200


def test_stopping_does_not_wait_for_what_hangs(server):
    server.inject = {"hang": 1.0}

    async def ask_and_stop():
        asking = asyncio.create_task(posted(server, "chat", ["a", "b"]))
        while server.asked.total() < 2:
            await asyncio.sleep(0.01)
        started = time.monotonic()
        await asyncio.to_thread(server.stop)
        return time.monotonic() - started, await asking

    took_s, replies = asyncio.run(ask_and_stop())
    assert took_s < 2
    assert all(isinstance(reply, aiohttp.ClientError) for reply in replies)


# Limits


def test_requests_over_the_limit_are_rejected_until_the_bucket_fills(server):
    server.requests_per_minute = 600
    replies = asyncio.run(posted(server, "chat", [str(number) for number in range(40)]))
    statuses = [status for status, *_ in replies]
    assert 10 <= statuses.count(200) <= 25
    assert server.rejected == statuses.count(429) == 40 - server.answered.total()
    refused = next(headers for status, headers, _ in replies if status == 429)
    time.sleep(float(refused["Retry-After"]) + 0.2)
    assert post(server, "chat")[0] == 200


def test_tokens_over_the_limit_are_rejected(server):
    server.tokens_per_minute = 600  # a bucket of 10: the first request of 9 tokens empties it
    assert [post(server, "chat", "1234")[0] for _ in range(2)] == [200, 429]


def test_a_longer_capacity_lets_more_pile_up(server):
    server.requests_per_minute, server.limit_capacity_s = 60, 5.0
    assert [post(server, "chat")[0] for _ in range(6)] == [200] * 5 + [429]


def test_openai_tells_what_is_left(server):
    server.requests_per_minute, server.tokens_per_minute, server.limit_capacity_s = 60, 60_000, 60.0
    headers = post(server, "chat", "1234")[1]
    told = {name: headers[f"x-ratelimit-{name}"] for name in ("limit-requests", "remaining-requests", "limit-tokens")}
    assert told == {"limit-requests": "60", "remaining-requests": "59", "limit-tokens": "60000"}
    assert headers["x-ratelimit-remaining-tokens"] == "59991"
    assert headers["x-ratelimit-reset-requests"] == "1s"
    assert headers["x-ratelimit-reset-tokens"] == "9ms"


def test_anthropic_tells_what_is_left(server):
    server.requests_per_minute, server.tokens_per_minute, server.limit_capacity_s = 60, 60_000, 60.0
    headers = post(server, "messages", "1234")[1]
    assert headers["anthropic-ratelimit-requests-limit"] == "60"
    assert headers["anthropic-ratelimit-requests-remaining"] == "59"
    assert headers["anthropic-ratelimit-tokens-remaining"] == "59991"
    reset = headers["anthropic-ratelimit-requests-reset"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", reset)
    assert 0 < (datetime.fromisoformat(reset) - datetime.now(UTC)).total_seconds() < 3


def test_without_a_limit_nothing_is_told(server):
    assert not [name for name in post(server, "chat")[1] if "ratelimit" in name.lower()]


# Faults by name

ERRORS = {
    "rate_limited": (429, "0.05"),
    "rate_limited_for_a_day": (429, "86400"),
    "insufficient_quota": (429, None),
    "server_error": (500, None),
    "unavailable": (503, None),
    "overloaded": (529, None),
}


@KINDS
@pytest.mark.parametrize("fault", list(ERRORS))
def test_an_error_costs_nothing(server, kind, fault):
    server.inject = {fault: 1.0}
    status, headers, body = post(server, kind)
    assert (status, headers.get("Retry-After")) == ERRORS[fault]
    assert (b"insufficient_quota" in body) == (fault == "insufficient_quota")
    assert json.loads(body)["error"]["message"]
    assert (server.suffered, server.answered.total()) == ({"one two": [fault]}, 0)


TEXTS = {
    "lone_surrogate": "Answer to: one two \ud800",
    "nul": "Answer to: one two \0",
    "empty": "",
    "content_filter": "Answer to",
    "length": "Answer to",
    "other_model": "Answer to: one two",
    "duplicate_id": "Answer to: one two",
}


@KINDS
@pytest.mark.parametrize("fault", list(TEXTS))
def test_an_odd_answer_is_well_formed_json_and_paid(server, kind, fault):
    server.inject = {fault: 1.0}
    status, _, body = post(server, kind)
    assert (status, text_of(kind, body)) == (200, TEXTS[fault])
    reasons = {"content_filter": ("content_filter", "refusal"), "length": ("length", "max_tokens")}
    assert reason_of(kind, body) == reasons.get(fault, ("stop", "end_turn"))[kind == "messages"]
    assert json.loads(body)["model"] == ("asked-model-other" if fault == "other_model" else "asked-model")
    is_same_id = json.loads(post(server, kind)[2])["id"] == json.loads(body)["id"]
    assert is_same_id == (fault == "duplicate_id")
    assert server.answered.total() == 2


def test_half_pairs_and_nul_come_as_escapes(server):
    server.inject = {"lone_surrogate": 1.0}
    assert b"\\ud800" in post(server, "chat")[2]
    server.inject = {"nul": 1.0}
    assert b"\\u0000" in post(server, "chat")[2]


def test_a_refusal_is_told_in_each_protocols_way(openai_client, anthropic_client, server):
    server.inject = {"refusal": 1.0}
    message = openai_client.chat.completions.create(**asked("chat")).choices[0].message
    assert (message.content, message.refusal) == (None, "I'm sorry, but I can't help with that.")
    assert openai_client.completions.create(**asked("text")).choices[0].finish_reason == "content_filter"
    refused = anthropic_client.messages.create(**asked("messages"))
    assert (refused.stop_reason, refused.content[0].text) == ("refusal", "Answer to")


@KINDS
def test_bytes_that_are_no_reply_come_with_status_200(server, kind):
    server.inject = {"invalid_json": 1.0}
    status, headers, body = post(server, kind)
    assert status == 200
    with pytest.raises(json.JSONDecodeError):
        json.loads(body)
    server.inject = {"html": 1.0}
    status, headers, body = post(server, kind)
    assert (status, headers["Content-Type"], b"<html>" in body) == (200, "text/html; charset=utf-8", True)
    server.inject = {"error_object": 1.0}
    status, headers, body = post(server, kind)
    assert (status, "error" in json.loads(body)) == (200, True)


@KINDS
def test_a_reset_is_a_reset(server, kind):
    server.inject = {"reset": 1.0}

    async def send():
        reader, writer = await asyncio.open_connection("127.0.0.1", int(server.url.rsplit(":", 1)[1]))
        body = json.dumps(asked(kind)).encode()
        writer.write(f"POST {PATHS[kind]} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        try:
            await reader.read()
        finally:
            writer.transport.abort()

    with pytest.raises(ConnectionResetError):
        asyncio.run(send())
    assert server.answered.total() == 0


@KINDS
def test_a_hang_ends_when_the_client_goes_and_blocks_nobody(server, kind):
    server.inject, server.inject_once = {"hang": 1.0}, True
    with pytest.raises(asyncio.TimeoutError):
        post(server, kind, timeout_s=0.2)
    assert post(server, kind)[0] == 200


@KINDS
def test_a_slow_drip_outlives_a_time_out_per_read(server, kind):
    server.inject, server.drip_s = {"slow_drip": 1.0}, 0.5
    started = time.monotonic()
    assert text_of(kind, post(server, kind)[2]) == "Answer to: one two"
    assert 0.4 < time.monotonic() - started < 2
    with pytest.raises(asyncio.TimeoutError):
        post(server, kind, timeout_s=0.2)


@KINDS
def test_a_cut_body_is_shorter_than_it_says(server, kind):
    server.inject = {"cut_body": 1.0}
    with pytest.raises(aiohttp.ClientPayloadError):
        post(server, kind)
    assert server.answered.total() == 1


def test_every_fault_has_a_test():
    others = {"refusal", "invalid_json", "html", "error_object", "reset", "hang", "slow_drip", "cut_body"}
    assert set(ERRORS) | set(TEXTS) | others == set(FAULT_NAMES)


def test_shares_are_kept_and_follow_from_the_seed_not_from_the_order(server):
    server.inject = {"server_error": 0.3, "empty": 0.2}
    prompts = [f"prompt {number}" for number in range(400)]
    asyncio.run(posted(server, "chat", prompts))
    first, server.suffered = dict(server.suffered), {}
    names = [name for names in first.values() for name in names]
    assert 90 < names.count("server_error") < 150
    assert 50 < names.count("empty") < 110
    server.drawn.clear()
    asyncio.run(posted(server, "chat", prompts[::-1]))
    assert server.suffered == first
    server.drawn.clear()
    server.seed, server.suffered = 1, {}
    asyncio.run(posted(server, "chat", prompts))
    assert server.suffered != first


def test_a_fault_that_is_suffered_once_spares_the_retry(server):
    server.inject, server.inject_once = {"server_error": 1.0}, True
    assert [post(server, "chat", prompt)[0] for prompt in ("a", "a", "b", "b", "a")] == [500, 200, 500, 200, 200]
    assert server.suffered == {"a": ["server_error"], "b": ["server_error"]}


@pytest.mark.parametrize("shares", [{"flood": 0.1}, {"reset": 0.7, "hang": 0.4}, {"reset": -0.1}])
def test_shares_that_cannot_be_are_refused(server, shares):
    with pytest.raises(ValueError, match="no such fault|shares are"):
        server.inject = shares
