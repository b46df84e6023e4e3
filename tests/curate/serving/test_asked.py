"""What of a request the Aligner is shown, and what the upstream is sent."""

import json

import pytest

from curate.serving.asked import question_of, read_asked
from curate.serving.refusals import RefusedError


@pytest.mark.parametrize(
    ("messages", "question"),
    [
        ([{"role": "user", "content": "q"}], "q"),
        ([{"role": "system", "content": "s"}, {"role": "user", "content": "q"}], "q"),
        (
            [
                {"role": "user", "content": "one"},
                {"role": "assistant", "content": "two"},
                {"role": "user", "content": "q"},
            ],
            "one\ntwo\nq",
        ),
        (
            [
                {"role": "user", "content": "q"},
                {"role": "assistant", "content": None, "tool_calls": [{}]},
                {"role": "tool", "content": "4"},
            ],
            "q",
        ),
        (
            [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "a"},
                        {"type": "image_url", "image_url": {}},
                        {"type": "text", "text": "b"},
                    ],
                }
            ],
            "a\nb",
        ),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}], None),
        ([{"role": "assistant", "content": "a"}], None),
        ([], None),
        (None, None),
        ("user", None),
        ([1, None, ["user"], {"role": ["user"]}, {"role": "user", "content": 5}], None),
    ],
)
def test_the_question_is_the_last_user_turn_after_the_earlier_turns(messages, question):
    assert question_of(messages, "") == question


def test_an_instruction_stands_first():
    assert question_of([{"role": "user", "content": "q"}], "Be kind.") == "Be kind.\nq"


def test_the_upstream_gets_the_clients_very_bytes():
    raw = b'{ "messages":[{"role":"user","content":"caf\\u00e9"}],  "n": 1.0, "x": 1e3}'
    assert read_asked(raw, "").sent == raw
    assert read_asked(b'{"a": 1, "aligner": {"off": false}}', "").sent == b'{"a": 1}'
    assert json.loads(read_asked(b'{"stream": true, "stream_options": {}, "a": 1}', "").sent) == {"a": 1}
    assert read_asked(b'{"stream": false}', "").sent == b'{"stream": false}'


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"[]", b"null", b'"x"', b"{", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 100_000, b"9" * 5000),
        *(b'{"aligner": 1}', b'{"aligner": null}', b'{"aligner": {"off": 1}}', b'{"aligner": {"instruction": []}}'),
        *(b'{"aligner": {"of": true}}', b'{"stream": 1}', b'{"stream": "true"}'),
    ],
)
def test_a_body_that_is_no_request_is_refused(body):
    with pytest.raises(RefusedError) as caught:
        read_asked(body, "")
    assert caught.value.status == 400
