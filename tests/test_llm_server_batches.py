"""Batches on the test server, through the vendors' own SDKs."""

import json

import anthropic
import openai
import pytest


def line(number: int, **changes: object) -> dict:
    body = {"model": "m", "messages": [{"role": "user", "content": f"prompt {number}"}]}
    return {"custom_id": f"id-{number}", "method": "POST", "url": "/v1/chat/completions", "body": body} | changes


def submitted(client, rows):
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    uploaded = client.files.create(file=("input.jsonl", content), purpose="batch")
    return client.batches.create(
        input_file_id=uploaded.id, endpoint="/v1/chat/completions", completion_window="24h", metadata={"run": "7"}
    )


def rows_of(client, file_id):
    return [json.loads(row) for row in client.files.content(file_id).content.splitlines()]


def requests(count: int) -> list:
    params = {"model": "m", "max_tokens": 8}
    return [
        {"custom_id": f"id-{n}", "params": {**params, "messages": [{"role": "user", "content": f"prompt {n}"}]}}
        for n in range(count)
    ]


# OpenAI


def test_an_openai_batch_ends_with_its_answers_in_another_order(openai_client, server):
    batch = submitted(openai_client, [line(n) for n in range(3)])
    assert (batch.status, batch.metadata, server.asked.total()) == ("validating", {"run": "7"}, 3)
    assert openai_client.batches.retrieve(batch.id).status == "in_progress"
    batch = openai_client.batches.retrieve(batch.id)
    assert (batch.status, batch.request_counts.completed, batch.error_file_id) == ("completed", 3, None)
    rows = rows_of(openai_client, batch.output_file_id)
    assert [row["custom_id"] for row in rows] == ["id-2", "id-1", "id-0"]
    assert rows[0]["response"]["status_code"] == 200
    assert rows[0]["response"]["body"]["choices"][0]["message"]["content"] == "Answer to: prompt 2"
    assert server.batches[batch.id].fates == {f"id-{n}": "succeeded" for n in range(3)}
    assert server.answered.total() == 3


def test_batch_polls_says_how_long_a_batch_is_in_progress(openai_client, server):
    server.batch_polls = 3
    batch = submitted(openai_client, [line(0)])
    statuses = [openai_client.batches.retrieve(batch.id).status for _ in range(5)]
    assert statuses == ["in_progress"] * 3 + ["completed"] * 2


def test_each_request_of_an_openai_batch_has_its_fate(openai_client, server):
    fates = {"id-0": "succeeded", "id-1": "errored", "id-2": "expired", "id-3": "canceled"}
    server.batch_polls, server.batch_fates = 0, lambda custom_id, _: fates[custom_id]
    batch = openai_client.batches.retrieve(submitted(openai_client, [line(n) for n in range(4)]).id)
    assert [row["custom_id"] for row in rows_of(openai_client, batch.output_file_id)] == ["id-0"]
    lost = {row["custom_id"]: row for row in rows_of(openai_client, batch.error_file_id)}
    assert (lost["id-1"]["error"], lost["id-1"]["response"]["status_code"]) == (None, 500)
    assert (lost["id-2"]["error"]["code"], lost["id-3"]["error"]["code"]) == ("batch_expired", "batch_cancelled")
    assert (batch.request_counts.completed, batch.request_counts.failed) == (1, 3)


@pytest.mark.parametrize(("end", "code"), [("expired", "batch_expired"), ("cancelled", "batch_cancelled")])
def test_an_openai_batch_that_ends_early_keeps_what_is_done(openai_client, server, end, code):
    server.batch_polls, server.batch_ends = 0, end
    batch = openai_client.batches.retrieve(submitted(openai_client, [line(n) for n in range(4)]).id)
    assert batch.status == end
    assert [row["custom_id"] for row in rows_of(openai_client, batch.output_file_id)] == ["id-1", "id-0"]
    lost = {row["custom_id"]: row["error"]["code"] for row in rows_of(openai_client, batch.error_file_id)}
    assert lost == {"id-2": code, "id-3": code}
    assert server.answered.total() == 2


def test_an_openai_batch_can_fail_as_a_whole(openai_client, server):
    server.batch_ends = "failed"
    batch = submitted(openai_client, [line(0)])
    assert [openai_client.batches.retrieve(batch.id).status for _ in range(2)] == ["validating", "failed"]
    batch = openai_client.batches.retrieve(batch.id)
    assert (batch.errors.data[0].code, batch.output_file_id, server.answered.total()) == ("invalid_request", None, 0)


@pytest.mark.parametrize(
    ("rows", "code"),
    [
        ([line(0), line(0)], "duplicate_custom_id"),
        ([line(0, url="/v1/completions")], "mismatched_endpoint"),
        ([line(0), line(1, body={**line(1)["body"], "model": "n"})], "mismatched_model"),
        ([{"custom_id": "id-0"}], "invalid_json_line"),
        ([line(0), line(1), line(2)], "too_many_tasks"),
        ([], "empty_file"),
    ],
)
def test_a_bad_input_file_fails_the_batch(openai_client, server, rows, code):
    server.batch_polls, server.batch_requests_at_most = 0, 2
    batch = openai_client.batches.retrieve(submitted(openai_client, rows).id)
    assert (batch.status, code in [error.code for error in batch.errors.data]) == ("failed", True)


def test_a_cancelled_openai_batch_is_cancelling_first(openai_client, server):
    batch = submitted(openai_client, [line(n) for n in range(4)])
    assert openai_client.batches.cancel(batch.id).status == "cancelling"
    assert [openai_client.batches.retrieve(batch.id).status for _ in range(2)] == ["cancelling", "cancelled"]
    with pytest.raises(openai.ConflictError, match="status 'cancelled'"):
        openai_client.batches.cancel(batch.id)


def test_openai_lists_are_paged_newest_first(openai_client):
    made = [submitted(openai_client, [line(n)]) for n in range(5)]
    first = openai_client.batches.list(limit=2)
    assert ([one.id for one in first.data], first.has_more) == ([made[4].id, made[3].id], True)
    assert [one.id for one in openai_client.batches.list(limit=2)] == [one.id for one in made[::-1]]
    files = list(openai_client.files.list(limit=2, purpose="batch"))
    assert [one.id for one in files] == [one.input_file_id for one in made[::-1]]
    assert openai_client.files.retrieve(files[0].id).filename == "input.jsonl"
    assert openai_client.files.delete(files[0].id).deleted
    with pytest.raises(openai.NotFoundError):
        openai_client.files.content(files[0].id)


def test_the_hook_runs_when_a_batch_is_registered_and_its_reply_not_sent(openai_client, server):
    seen = []
    server.after_batch_submitted = lambda: seen.append((len(server.batches), server.asked.total()))
    server.batch_faults = [(503, {}, b"busy")]
    with pytest.raises(openai.InternalServerError):
        submitted(openai_client, [line(0)])
    assert (seen, server.files) == ([], {})
    submitted(openai_client, [line(0)])
    assert seen == [(1, 1)]


# Anthropic


def test_an_anthropic_batch_ends_with_its_answers_in_another_order(anthropic_client, server):
    batch = anthropic_client.messages.batches.create(requests=requests(3))
    assert (batch.processing_status, batch.request_counts.processing, server.asked.total()) == ("in_progress", 3, 3)
    with pytest.raises(anthropic.NotFoundError, match="has not ended"):
        anthropic_client.get(f"/v1/messages/batches/{batch.id}/results", cast_to=object)
    assert anthropic_client.messages.batches.retrieve(batch.id).results_url is None
    rows = list(anthropic_client.messages.batches.results(batch.id))
    assert [row.custom_id for row in rows] == ["id-2", "id-1", "id-0"]
    assert rows[0].result.message.content[0].text == "Answer to: prompt 2"
    batch = anthropic_client.messages.batches.retrieve(batch.id)
    assert (batch.processing_status, batch.request_counts.succeeded, server.answered.total()) == ("ended", 3, 3)


def test_each_request_of_an_anthropic_batch_has_its_fate(anthropic_client, server):
    fates = {"id-0": "succeeded", "id-1": "errored", "id-2": "expired", "id-3": "canceled"}
    server.batch_polls, server.batch_fates = 0, lambda custom_id, _: fates[custom_id]
    batch = anthropic_client.messages.batches.create(requests=requests(4))
    rows = {row.custom_id: row.result for row in anthropic_client.messages.batches.results(batch.id)}
    assert {custom_id: result.type for custom_id, result in rows.items()} == fates
    assert rows["id-1"].error.error.type == "api_error"
    counts = anthropic_client.messages.batches.retrieve(batch.id).request_counts
    assert (counts.succeeded, counts.errored, counts.expired, counts.canceled) == (1, 1, 1, 1)


def test_an_anthropic_batch_can_expire(anthropic_client, server):
    server.batch_polls, server.batch_ends = 0, "expired"
    batch = anthropic_client.messages.batches.create(requests=requests(4))
    kinds = [row.result.type for row in anthropic_client.messages.batches.results(batch.id)]
    assert kinds == ["expired", "expired", "succeeded", "succeeded"]


def test_a_cancelled_anthropic_batch_is_canceling_first(anthropic_client):
    batch = anthropic_client.messages.batches.create(requests=requests(4))
    assert anthropic_client.messages.batches.cancel(batch.id).processing_status == "canceling"
    shown = [anthropic_client.messages.batches.retrieve(batch.id) for _ in range(2)]
    assert [one.processing_status for one in shown] == ["canceling", "ended"]
    assert (shown[1].request_counts.succeeded, shown[1].request_counts.canceled) == (2, 2)


def test_anthropic_lists_are_paged_newest_first(anthropic_client):
    made = [anthropic_client.messages.batches.create(requests=requests(1)).id for _ in range(5)]
    first = anthropic_client.messages.batches.list(limit=2)
    assert (first.has_more, first.first_id, first.last_id) == (True, made[4], made[3])
    assert [one.id for one in anthropic_client.messages.batches.list(limit=2)] == made[::-1]
    before = anthropic_client.messages.batches.list(limit=2, before_id=made[1])
    assert ([one.id for one in before.data], before.has_more) == ([made[3], made[2]], True)


@pytest.mark.parametrize(
    "rows", [[], requests(1) * 2, [{**requests(1)[0], "custom_id": "a b"}], [{"custom_id": "id-0", "params": {}}]]
)
def test_bad_requests_make_no_anthropic_batch(anthropic_client, server, rows):
    with pytest.raises(anthropic.BadRequestError, match="requests"):
        anthropic_client.messages.batches.create(requests=rows)
    assert not server.batches
