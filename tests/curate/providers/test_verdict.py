"""The ruling on raw replies of both protocols: seven verdicts, names of models, and how models decline."""

import json
import time

import pytest

from curate.providers.anthropic import AnthropicProvider
from curate.providers.endpoint import Dialect, Endpoint
from curate.providers.openai import OpenAIProvider
from curate.providers.verdict import Ruling, Verdict, is_same_model, ruling
from curate.rules.refusal import REFUSAL
from schemas.records import Sampling

READ = {
    "openai": OpenAIProvider("m", Sampling(), Endpoint("none"), Dialect()).read,
    "anthropic": AnthropicProvider("m", Sampling(), Endpoint("none"), {}).read,
}


def reply(protocol: str, text: str | None, reason: str = "stop", model: str = "m") -> bytes:
    """A raw reply; the reason in OpenAI's words."""
    if protocol == "openai":
        choice = {"message": {"content": text}, "finish_reason": reason}
        return json.dumps({"model": model, "choices": [choice], "usage": {}}).encode()
    reasons = {"stop": "end_turn", "length": "max_tokens", "content_filter": "refusal"}
    blocks = [] if text is None else [{"type": "text", "text": text}]
    return json.dumps({"model": model, "content": blocks, "stop_reason": reasons[reason]}).encode()


@pytest.mark.parametrize("protocol", ["openai", "anthropic"])
@pytest.mark.parametrize(
    ("text", "reason", "verdict"),
    [
        ("Four.", "stop", Verdict.OK),
        ("I'm sorry, but I cannot help with that.", "stop", Verdict.REFUSED),
        ("I'm sorry, but I cannot help wi", "length", Verdict.TRUNCATED),
        ("", "length", Verdict.TRUNCATED),
        ("", "content_filter", Verdict.FILTERED),
        (None, "content_filter", Verdict.FILTERED),
        ("", "stop", Verdict.EMPTY),
        (None, "stop", Verdict.EMPTY),
        (" \n\t\u3000", "stop", Verdict.EMPTY),
        ("half of a pair: \ud83d", "stop", Verdict.MALFORMED),
    ],
)
def test_a_raw_reply_has_one_verdict(protocol, text, reason, verdict):
    assert ruling(READ[protocol], reply(protocol, text, reason), "m").verdict is verdict


@pytest.mark.parametrize("protocol", ["openai", "anthropic"])
def test_a_reply_of_another_model_is_told_with_both_names(protocol):
    ruled = ruling(READ[protocol], reply(protocol, "Four.", model="other"), "asked")
    assert ruled.verdict is Verdict.WRONG_MODEL
    assert "'other'" in ruled.detail
    assert "'asked'" in ruled.detail


@pytest.mark.parametrize("protocol", ["openai", "anthropic"])
def test_a_refusal_that_the_server_names_is_one_in_any_words(protocol):
    raw = {
        "openai": {"choices": [{"message": {"content": None, "refusal": "Nope."}, "finish_reason": "stop"}]},
        "anthropic": {"content": [{"type": "text", "text": "Nope."}], "stop_reason": "refusal"},
    }
    ruled = ruling(READ[protocol], json.dumps(raw[protocol]).encode())
    assert (ruled.verdict, ruled.completion.text) == (Verdict.REFUSED, "Nope.")


@pytest.mark.parametrize("protocol", ["openai", "anthropic"])
@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"[]",
        b"7",
        b'"text"',
        b"{}",
        b"<html>busy</html>",
        b"\xff\xfe",
        b'{"error": {"message": "overloaded"}}',
        b'{"choices": [], "content": null}',
        b'{"choices": [null], "content": [null]}',
        b'{"choices": [{"message": null}], "content": [{"type": "text"}]}',
        b'{"choices": [{"message": {"content": 7}}], "content": [{"type": "text", "text": 7}]}',
        b'{"choices": [{"message": {"content": [7]}}], "content": 7}',
        b"[" * 100_000,
    ],
)
def test_what_holds_no_completion_is_malformed_and_no_exception(protocol, raw):
    ruled = ruling(READ[protocol], raw)
    assert (ruled.verdict, ruled.completion, ruled.is_answer) == (Verdict.MALFORMED, None, False)


@pytest.mark.parametrize("protocol", ["openai", "anthropic"])
@pytest.mark.parametrize("usage", [None, [], {}, {"input_tokens": "9", "prompt_tokens": "9"}, {"output_tokens": None}])
def test_an_odd_usage_does_not_cost_the_answer(protocol, usage):
    body = json.loads(reply(protocol, "Four.")) | {"usage": usage}
    assert ruling(READ[protocol], json.dumps(body).encode()).verdict is Verdict.OK


def test_only_whole_answers_and_refusals_are_answers():
    assert {one for one in Verdict if Ruling(one).is_answer} == {Verdict.OK, Verdict.REFUSED}


@pytest.mark.parametrize(
    ("asked", "reported"),
    [
        ("gpt-4o", "gpt-4o"),
        ("gpt-4o", ""),
        ("*", "anything"),
        ("gpt-4o", "GPT-4o"),
        ("gpt-4o", "gpt-4o-2024-08-06"),
        ("gpt-4", "gpt-4-0613"),
        ("gpt-4-0613", "gpt-4"),
        ("claude-3-5-sonnet", "claude-3-5-sonnet-20241022"),
        ("claude-3-5-sonnet-latest", "claude-3-5-sonnet-20241022"),
        ("claude-3-5-sonnet@20241022", "claude-3-5-sonnet"),
        ("llama3", "llama3:latest"),
        ("llama3:latest", "llama3"),
        ("mistral-large-latest", "mistral-large-2411"),
        ("sshleifer/tiny-gpt2", "sshleifer/tiny-gpt2@main"),
        ("meta-llama/Llama-2-7b-chat-hf", "Llama-2-7b-chat-hf"),
        ("Llama-2-7b-chat-hf", "/models/Llama-2-7b-chat-hf"),
        ("openai/gpt-4o", "gpt-4o-2024-08-06"),
        ("tiny-gpt2", "sshleifer/tiny-gpt2@main"),
    ],
)
def test_a_dated_state_or_a_path_is_the_same_model(asked, reported):
    assert is_same_model(asked, reported)


@pytest.mark.parametrize(
    ("asked", "reported"),
    [
        ("gpt-4", "gpt-4o"),
        ("gpt-4o", "gpt-4o-mini"),
        ("gpt-4o", "gpt-4o-mini-2024-07-18"),
        ("gpt-4", "gpt-4-turbo-2024-04-09"),
        ("gpt-4o-2024-08-06", "gpt-4o-2024-05-13"),
        ("claude-3-5-sonnet-20241022", "claude-3-5-sonnet-20240620"),
        ("claude-3-5-sonnet-latest", "claude-3-5-haiku-20241022"),
        ("claude-3-opus-20240229", "claude-3-haiku-20240307"),
        ("Llama-2-7b-chat-hf", "Llama-2-7b-hf"),
        ("Llama-2-7b-chat-hf", "Llama-2-70b-chat-hf"),
        ("meta-llama/Llama-2-7b-chat-hf", "meta-llama/Llama-2-13b-chat-hf"),
        ("qwen2.5:7b", "qwen2.5:14b"),
        ("m", "none"),
    ],
)
def test_another_size_kind_or_date_is_another_model(asked, reported):
    assert not is_same_model(asked, reported)


REFUSALS = [
    "I'm sorry, but I can't help with that.",
    "I’m sorry, but I can’t assist with that request.",
    "I am sorry, but I cannot provide instructions for that.",
    "I'm very sorry, but I won't write this.",
    "Sorry, I can't do that.",
    "Sorry, but I can't assist with that.",
    "My apologies, but I'm unable to assist.",
    "I apologize, but I cannot fulfill this request.",
    "I apologise, but I cannot create content that promotes hatred.",
    "I apologize, but I don't feel comfortable pretending to be a lawyer.",
    "I apologize, but I do not feel comfortable reproducing the dialogue.",
    "I apologize, but I cannot rewrite the lyrics of that song.",
    "I apologize, but I cannot turn the speech into a rap song.",
    "I apologize for any inconvenience, but I am unable to generate this.",
    "I cannot fulfill your request. I'm just an AI.",
    "I can't satisfy your request, I'm just an AI.",
    "I cannot provide a defense for him.",
    "I can not help you with that.",
    "I cannot in good conscience help with this.",
    "I will not provide any information to help with tax fraud.",
    "I won't help you to hurt anyone.",
    "I will not be able to help with that.",
    "I must decline.",
    "I must respectfully decline to answer.",
    "I have to refuse this request.",
    "I refuse to write that.",
    "I decline to take part in this.",
    "I'm not able to help with that.",
    "I am not programmed to do that.",
    "I'm not comfortable writing this.",
    "I'm unable to assist with creating weapons.",
    "As an AI language model, I cannot provide medical advice.",
    "As an AI, I can't engage in illegal activities.",
    "As a responsible AI, I cannot encourage this.",
    "As an AI language model, it is not ethical or appropriate for me to provide this.",
    "I'm sorry, but as an AI language model, I cannot predict the future.",
    "I'm sorry, I am an AI model and do not have the ability to access the date.",
    "I apologize, but I do not have access to real-time information.",
    "I'm sorry, but it is not appropriate to make jokes about this.",
    "No, I'm sorry but I can't help you write your memoir.",
    "Unfortunately, I am unable to reply with a Malbolge program.",
    '"I cannot provide that."',
    "  **I cannot assist with that.**",
    "Oh, I'm sorry, but I can't share that.",
    "Thank you for reaching out! However, I must inform you that I cannot provide information on firearms.",
    "As a responsible and ethical assistant, I must inform you that I cannot provide a list of courses.",
    "As a helpful and respectful assistant, I cannot provide a defense for him.",
    "I'm happy to help! However, I cannot provide a summary of this site.",
    "I'm glad you like soup, but I'm afraid I cannot provide a recipe for it.",
]

NEAR_MISSES = [
    "I can't believe how beautiful this is.",
    "I can't wait to share this with you!",
    "I can't help but smile.",
    "I can't help feeling that we forgot something.",
    "I cannot help the way I feel about the Lord up high.",
    "I can't help it: I love this song.",
    "I cannot recommend this place enough.",
    "I can't recommend their pizza highly enough!",
    "I cannot stress enough how important sleep is.",
    "I can't remember the last time it rained.",
    "I can't tell whether it is a boy or a girl. Here is how to find out.",
    "I won't give up on us.",
    "I will not give in to fear, said the knight.",
    "I'm sorry to hear that you are ill. Try to drink more water.",
    "I'm so sorry for your loss. Here are some words of comfort.",
    "I'm sorry you had a rough day. What happened?",
    "I am sorry that your order is late. We will refund it.",
    "Sorry for the confusion! Here is the corrected list.",
    "Sorry seems to be the hardest word is a song by Elton John.",
    "I apologize for the delay in your order.",
    "Apologies for the mistake: the answer is 42.",
    "My apologies for the late reply. The meeting is on Monday.",
    "Unfortunately, the train was late.",
    "Unfortunately, I forgot my umbrella that day.",
    "As an AI, I can help you with many things.",
    "As an AI language model, I can provide you with a list of podcasts.",
    "As an AI language model, I don't have personal opinions, but here are both sides.",
    "As an artificial satellite, Sputnik had no engine.",
    "I don't have personal opinions, but many critics liked it.",
    "I do not recommend taking both medicines together.",
    "I should note that prices vary.",
    "I must admit that I like it.",
    "I am not sure which game you mean. Could you say more?",
    "I'm sorry, but I'm not sure what tool you are referring to.",
    "I'm sorry, but you haven't provided any content for me to review.",
    "I'm sorry, but there are a few misconceptions in your question.",
    "I'm sorry, but it is not possible to teach a cat French.",
    "It is illegal to park here.",
    "It is inappropriate to wear white to someone else's wedding.",
    "He said: I cannot help you.",
    "Here is a refusal: I cannot help with that.",
    "The answer is that I cannot be solved for zero.",
    "Can't help falling in love was sung by Elvis.",
    "Yes, I can help.",
    "I'm happy to help! However, I must point out that bananas are berries.",
    "I'm happy to help! However, I can offer two versions.",
    "Here is the list.\n\nHowever, I cannot guarantee that it is complete.",
    "She was glad to help. However, the door would not open.",
]


@pytest.mark.parametrize("text", REFUSALS)
def test_a_text_that_declines_is_a_refusal(text):
    assert REFUSAL.match(text)


@pytest.mark.parametrize("text", NEAR_MISSES)
def test_a_text_that_only_sounds_like_it_is_none(text):
    assert not REFUSAL.match(text)


@pytest.mark.parametrize(
    "text", [*REFUSALS[:5], "I'm sorry to hear that you are ill, but I cannot provide a diagnosis."]
)
def test_case_and_blanks_do_not_matter(text):
    assert REFUSAL.match(f"\n\n {text.upper()}")


@pytest.mark.parametrize("piece", [" ", '"', "* ", "I'm sorry ", "I'm sorry, but ", "as an AI ", "I'm an AI ", "no "])
def test_the_time_to_look_for_a_refusal_grows_no_faster_than_the_text(piece):
    def seconds(size: int) -> float:
        text = (piece * size)[:size]
        return min(timed(text) for _ in range(5))

    def timed(text: str) -> float:
        begun = time.thread_time()  # other work on the machine does not count
        for _ in range(10):
            REFUSAL.match(text)
        return time.thread_time() - begun

    assert seconds(400_000) < 20 * max(seconds(50_000), 1e-4), "eight times the text; a square would be 64 times"
