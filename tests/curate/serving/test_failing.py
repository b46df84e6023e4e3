"""What a client gets when the upstream or the Aligner fails: the upstream's own words, a sentence, or the original."""

import json
import socket

import openai
import pytest

from curate.training.aligner import Aligner
from tests.curate.serving.running import chat, until
from tests.curate.serving.taught import corrected, question
from tests.llm_server import FATAL_KEY
from tests.llm_server.errors import error_body


def sent(choice: dict) -> tuple[int, dict[str, str], bytes]:
    """A completion of one choice, as the server is to send it once."""
    return 200, {}, json.dumps({"id": "x", "choices": [{"index": 0, **choice}]}).encode()


@pytest.mark.parametrize(
    ("status", "headers", "kind"),
    [
        (400, {}, openai.BadRequestError),
        (401, {}, openai.AuthenticationError),
        (429, {"Retry-After": "7", "x-ratelimit-limit-requests": "3"}, openai.RateLimitError),
        (500, {}, openai.InternalServerError),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_errors_of_the_upstream_are_passed_on(serve, server, taught, status, headers, kind, stream):
    body = error_body("openai", status, "The upstream's own words.")
    server.faults.append((status, headers, body))
    with serve(taught).client() as client, pytest.raises(kind) as caught:
        client.chat.completions.create(**chat("x"), stream=stream)
    assert caught.value.response.content == body
    assert [caught.value.response.headers[name] for name in headers] == list(headers.values())


@pytest.mark.parametrize("fault", ["cut_body", "reset"])
def test_an_upstream_that_dies_in_the_middle_gives_502(serve, server, taught, fault):
    server.inject = {fault: 1.0}
    running = serve(taught)
    for body in (chat("x"), {**chat("x"), "stream": True}):
        response = running.post(body)
        assert response.status_code == 502
        assert response.json()["error"]["code"] == "upstream_failed"
        assert "broke off" in response.json()["error"]["message"]


def test_an_upstream_that_dies_after_the_stream_has_begun_is_an_event(serve, server, taught):
    server.inject, server.latency_s = {"cut_body": 1.0}, lambda: 0.3
    running = serve(taught, keep_alive_s=0.05)
    assert running.post({**chat("x"), "stream": True}).status_code == 200
    with running.client() as client, pytest.raises(openai.APIError, match="broke off"):
        list(client.chat.completions.create(**chat("x"), stream=True))


def test_an_upstreams_error_after_the_stream_has_begun_is_an_event(serve, server, taught):
    server.inject, server.latency_s = {"error_object": 1.0}, lambda: 0.3
    with serve(taught, keep_alive_s=0.05).client() as client, pytest.raises(openai.APIError, match="had an error"):
        list(client.chat.completions.create(**chat("x"), stream=True))


@pytest.mark.parametrize("fault", ["invalid_json", "html"])
def test_what_is_no_completion_gives_502(serve, server, taught, fault):
    server.inject = {fault: 1.0}
    response = serve(taught).post(chat("x"))
    assert (response.status_code, response.json()["error"]["code"]) == (502, "upstream_unreadable")


def test_an_upstream_that_is_not_there_gives_502(serve, server, taught):
    server.stop()
    assert serve(taught).post(chat("x")).status_code == 502


def test_an_upstream_that_takes_too_long_gives_504(serve, server, taught):
    server.inject = {"hang": 1.0}
    response = serve(taught, upstream_timeout_s=0.2).post(chat("x"))
    assert (response.status_code, response.json()["error"]["code"]) == (504, "upstream_timeout")


def test_drops_of_a_body_do_not_stretch_the_upstreams_time(serve, server, taught):
    server.inject, server.drip_s = {"slow_drip": 1.0}, 5.0
    assert serve(taught, upstream_timeout_s=0.5).post(chat("x")).status_code == 504


@pytest.mark.parametrize(
    ("choice", "reason"),
    [
        ({"message": {"content": None, "tool_calls": [{"id": "1", "type": "function"}]}}, "tool_calls"),
        ({"message": {"content": "a", "function_call": {"name": "f"}}}, "tool_calls"),
        ({"message": {"content": None, "refusal": "No."}}, "refusal"),
        ({"message": {"content": None}}, "empty"),
        ({"message": {"content": " \n"}}, "empty"),
        ({"message": {"content": [{"type": "text", "text": "a"}]}}, "not_text"),
        ({"message": {"content": 5}}, "not_text"),
        ({"message": {"content": "a"}, "finish_reason": "length"}, "not_finished"),
        ({"message": {"content": "a"}, "finish_reason": "content_filter"}, "not_finished"),
    ],
)
@pytest.mark.parametrize("fails_open", [True, False])
def test_what_is_no_finished_text_passes_unchanged_and_marked(serve, server, taught, choice, reason, fails_open):
    server.faults.append(sent(choice))
    (found,) = serve(taught, fails_open=fails_open).post(chat("x")).json()["choices"]
    mark = found["message"].pop("aligner")
    assert found == {"index": 0, **choice}
    assert mark == {"original": choice["message"]["content"], "changed": False, "reason": reason}


def test_tool_calls_are_streamed(serve, server, taught):
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    server.faults.append(sent({"message": {"content": None, "tool_calls": [call]}, "finish_reason": "tool_calls"}))
    with serve(taught).client() as client:
        deltas = [one.choices[0].delta for one in client.chat.completions.create(**chat("x"), stream=True)]
    (streamed,) = [delta.tool_calls[0] for delta in deltas if delta.tool_calls]
    assert (streamed.index, streamed.function.name) == (0, "f")
    assert [delta.content for delta in deltas] == [None] * len(deltas)


@pytest.mark.parametrize("choice", [None, 5, [], {}, {"message": None}, {"message": [1]}])
def test_odd_choices_break_nothing(serve, server, taught, choice):
    running = serve(taught)
    for stream in (False, True):
        server.faults.append((200, {}, json.dumps({"choices": [choice]}).encode()))
        assert running.post({**chat("x"), "stream": stream}).status_code == 200


def test_a_correction_that_does_not_end_is_not_given(serve, endless):
    message = serve(endless).asked("How tall is the old tower?")
    assert message.content == "Answer to: How tall is the old tower?"
    assert message.aligner == {"original": message.content, "changed": False, "reason": "aligner_cut"}


@pytest.mark.parametrize(("text", "reason"), [("long " * 600, "too_long"), ("What is \ud800 this?", "invalid_unicode")])
def test_what_the_aligner_cannot_read_comes_back_as_it_was(serve, taught, text, reason):
    found = serve(taught).post(chat(text)).json()["choices"][0]["message"]
    assert found["content"] == f"Answer to: {text}"
    assert found["aligner"]["reason"] == f"aligner_{reason}"


def test_a_question_without_text_is_told(serve, taught):
    parts = [{"type": "text", "text": ""}]
    found = serve(taught).post({"messages": [{"role": "user", "content": parts}]}).json()["choices"][0]["message"]
    assert found["aligner"]["reason"] == "aligner_no_question"


def test_a_slow_aligner_fails_open(serve, endless):
    running = serve(endless, new_tokens_at_most=200, aligner_timeout_s=0.01)
    message = running.asked("x")
    assert message.content == "Answer to: x"
    assert message.aligner["reason"] == "aligner_too_slow"
    assert running.metric('curate_answers_total{outcome="failed"}') == 1
    assert running.metric('curate_failures_total{reason="too_slow"}') == 1


def test_a_slow_aligner_fails_closed(serve, endless):
    running = serve(endless, new_tokens_at_most=200, aligner_timeout_s=0.01, fails_open=False)
    response = running.post(chat("x"))
    assert (response.status_code, response.json()["error"]["code"]) == (503, "aligner_too_slow")
    assert "withheld" in response.json()["error"]["message"]
    assert "Answer to" not in response.text
    assert running.metric('curate_answers_total{outcome="withheld"}') == 1


def test_an_aligner_that_fails_closed_in_a_stream_is_an_event(serve, server, endless):
    server.latency_s = lambda: 0.3
    running = serve(endless, keep_alive_s=0.05, fails_open=False)
    response = running.post({**chat("x"), "stream": True})
    assert "aligner_cut" in response.text
    assert "Answer to" not in response.text


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_dead_aligner_leaves_nobody_waiting_and_shows_in_health(serve, taught):
    running = serve(Aligner(None, taught.tokenizer, taught.template))
    for _ in range(2):
        assert running.asked("x").aligner["reason"] == "aligner_stopped"
    health = running.get("/health")
    assert (health.status_code, health.json()["aligner"]) == (503, "stopped")


def test_one_bad_answer_does_not_spoil_its_batch(serve, server, taught):
    contents = ["Answer to: Client 005", "\ud800", "Answer to: Client 005"]
    choices = [{"index": n, "message": {"content": text}} for n, text in enumerate(contents)]
    server.faults.append((200, {}, json.dumps({"choices": choices}).encode()))
    found = [one["message"] for one in serve(taught).post(chat(question(5))).json()["choices"]]
    assert [one["content"] for one in found] == [corrected(5), "\ud800", corrected(5)]
    assert found[1]["aligner"]["reason"] == "aligner_invalid_unicode"


def test_a_client_that_leaves_ends_the_work(serve, server, taught):
    server.inject = {"hang": 1.0}
    running = serve(taught)
    port = int(running.url.rsplit(":", 1)[1])
    for stream in (b"false", b"true"):
        body = b'{"messages": [{"role": "user", "content": "x"}], "stream": ' + stream + b"}"
        with socket.create_connection(("127.0.0.1", port)) as leaving:
            head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
            leaving.sendall(head + body)
            until(lambda: running.metric("curate_waiting") == 1)
        until(lambda: running.metric("curate_waiting") == 0)
    assert running.metric('curate_requests_total{route="chat",status="499"}') == 2


def test_beyond_the_most_that_may_wait_clients_are_told_when_to_come_again(serve, server, taught):
    server.inject = {"hang": 1.0}
    running = serve(taught, waiting_at_most=2)
    port = int(running.url.rsplit(":", 1)[1])
    body = json.dumps(chat("x")).encode()
    with socket.create_connection(("127.0.0.1", port)) as one, socket.create_connection(("127.0.0.1", port)) as two:
        for waiting in (one, two):
            waiting.sendall(
                b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body
            )
        until(lambda: running.metric("curate_waiting") == 2)
        response = running.post(chat("x"))
        assert (response.status_code, response.json()["error"]["code"]) == (429, "too_many_waiting")
        assert int(response.headers["Retry-After"]) >= 1
        assert running.get("/health").status_code == 200
    server.inject = {}
    until(lambda: running.metric("curate_waiting") == 0)
    assert running.asked(question(3)).content == corrected(3)


def test_clients_keys_go_to_the_upstream(serve, taught):
    with serve(taught).client(FATAL_KEY) as client, pytest.raises(openai.AuthenticationError):
        client.chat.completions.create(**chat("x"))


def test_a_client_that_leaves_a_stream_ends_the_work(serve, server, taught):
    server.inject = {"hang": 1.0}
    running = serve(taught, keep_alive_s=0.05)
    body = json.dumps({**chat("x"), "stream": True}).encode()
    with socket.create_connection(("127.0.0.1", int(running.url.rsplit(":", 1)[1]))) as leaving:
        leaving.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )
        until(lambda: b": waiting" in leaving.recv(65536))
        assert running.metric("curate_waiting") == 1
    until(lambda: running.metric("curate_waiting") == 0)
