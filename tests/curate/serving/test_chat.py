"""Chat completions through the endpoint, by OpenAI's own client, with and without streaming."""

import json

from curate.serving.stacking import Shown, correct_all
from tests.curate.serving.running import chat
from tests.curate.serving.taught import corrected, question


def test_an_answer_comes_back_corrected_with_its_original(serve, server, taught):
    message = serve(taught).asked(question(42))
    assert message.content == corrected(42)
    assert message.aligner == {"original": "Answer to: Client 042", "changed": True}
    assert server.bodies == [chat(question(42))]


def test_everything_else_of_the_completion_is_the_upstreams(serve, server, taught):
    server.reports_model = "the-model"
    response = serve(taught).post(chat(question(7)))
    found = response.json()
    assert response.headers["x-request-id"].startswith("req_")
    assert (found["model"], found["object"], found["usage"]["total_tokens"]) == ("the-model", "chat.completion", 6)
    assert found["choices"][0]["finish_reason"] == "stop"


def test_each_choice_is_corrected_for_itself(serve, server, taught):
    choices = [
        {"index": n, "message": {"role": "assistant", "content": f"Answer to: Client {n:03d}"}, "finish_reason": "stop"}
        for n in (3, 1, 2)
    ]
    server.faults.append((200, {}, json.dumps({"choices": choices}).encode()))
    found = serve(taught).post(chat("Client 003")).json()["choices"]
    assert [one["index"] for one in found] == [3, 1, 2]
    assert [one["message"]["content"][:7] for one in found] == ["Served:"] * 3
    assert found[0]["message"]["content"] == corrected(3)


def test_a_stream_gives_the_same_text_and_ends_as_openais_do(serve, server, taught):
    with serve(taught).client() as client:
        stream = client.chat.completions.create(
            **chat(question(42)), stream=True, stream_options={"include_usage": True}
        )
        pieces = list(stream)
    deltas = [piece.choices[0].delta for piece in pieces[:-1]]
    assert "".join(delta.content or "" for delta in deltas) == corrected(42)
    assert deltas[0].role == "assistant"
    assert deltas[-1].aligner == {"original": "Answer to: Client 042", "changed": True}
    assert pieces[-2].choices[0].finish_reason == "stop"
    assert (pieces[-1].choices, pieces[-1].usage.total_tokens) == ([], 6)
    assert server.bodies == [chat(question(42))], "the upstream is asked for a whole answer"


def test_a_stream_waits_with_comments_and_ends_with_done(serve, server, taught):
    server.latency_s = lambda: 0.5
    response = serve(taught, keep_alive_s=0.1).post({**chat(question(5)), "stream": True})
    lines = response.text.split("\n\n")
    assert response.headers["content-type"].startswith("text/event-stream")
    assert lines[0] == ": waiting"
    assert 3 <= lines.count(": waiting") <= 20
    assert lines[-2:] == ["data: [DONE]", ""]
    assert "usage" not in response.text


def test_stacked_aligners_each_read_what_the_one_before_wrote(serve, taught):
    once = correct_all([taught], [Shown(question(9), "Answer to: Client 009")], 24)[0].text
    twice = correct_all([taught], [Shown(question(9), once)], 24)[0]
    message = serve(taught, taught).asked(question(9))
    assert message.content == (twice.text or "Answer to: Client 009")
    assert message.aligner["original"] == "Answer to: Client 009"


def test_off_gives_the_upstreams_answer_as_it_is(serve, server, taught):
    running = serve(taught)
    found = running.post({**chat(question(1)), "aligner": {"off": True}}).json()
    assert found["choices"][0]["message"] == {"role": "assistant", "content": "Answer to: Client 001", "refusal": None}
    assert server.bodies == [chat(question(1))]


def test_an_off_stream_is_the_upstreams_own(serve, server, taught):
    sent = b'data: {"choices": []}\n\ndata: [DONE]\n\n'
    server.faults.append((200, {"Content-Type": "text/event-stream"}, sent))
    response = serve(taught).post({**chat("x"), "stream": True, "aligner": {"off": True}})
    assert response.content == sent
    assert server.bodies[0]["stream"] is True


def test_an_instruction_changes_what_the_aligner_reads_not_what_the_upstream_reads(serve, server, taught):
    wanted = correct_all([taught], [Shown("Be brief.\nClient 042", "Answer to: Client 042")], 24)[0].text
    running = serve(taught, instruction="Be brief.")
    assert running.asked(question(42)).content == (wanted or "Answer to: Client 042")
    own = running.asked(question(42), extra_body={"aligner": {"instruction": ""}})
    assert own.content == corrected(42)
    assert server.bodies == [chat(question(42))] * 2


def test_a_reply_may_be_sent_back_as_an_earlier_turn(serve, server, taught):
    running = serve(taught)
    first = running.asked(question(8))
    turns = [*chat(question(8))["messages"], first.to_dict(), {"role": "user", "content": question(9)}]
    running.post({"model": "m", "messages": turns})
    assert server.bodies[1]["messages"][1] == {"role": "assistant", "content": corrected(8), "refusal": None}


def test_models_and_other_paths_are_passed_on(serve, server, taught):
    running = serve(taught)
    assert running.get("/v1/batches?limit=2").json()["data"] == []
    assert running.get("/v1/models").json()["error"]["message"] == "Unknown request URL: GET /v1/models"


def test_metrics_count_answers_and_batches(serve, taught):
    running = serve(taught)
    for number in range(3):
        running.asked(question(number))
    assert running.metric('curate_requests_total{route="chat",status="200"}') == 3
    assert running.metric('curate_answers_total{outcome="corrected"}') == 3
    assert running.metric("curate_batch_rows_count") == 3
    assert running.metric('curate_upstream_seconds_bucket{le="+Inf"}') == 3
    assert running.metric("curate_waiting") == 0


def test_health_tells_of_both_sides(serve, server, taught):
    running = serve(taught)
    assert running.get("/health").json() == {"status": "ok", "aligner": "loaded", "upstream": "reachable"}
    server.stop()
    assert running.get("/health").json() == {"status": "ok", "aligner": "loaded", "upstream": "unreachable"}
