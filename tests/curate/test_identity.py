"""Content ids stay what they are: a change would make every stored table a stranger."""

import random

from curate.identity import content_id, content_ids, folder_digest, request_key


def test_ids_depend_on_kind_and_every_part():
    assert len({content_id("prompt", "a", []), content_id("answer", "a", []), content_id("prompt", "b", [])}) == 3


def test_parts_cannot_run_into_each_other():
    assert content_id("prompt", "ab", "c") != content_id("prompt", "a", "bc")


def test_columns_give_the_ids_of_their_rows():
    turns = [[], [{"role": "user", "text": "hello"}]]
    assert content_ids("prompt", ["a", "b"], turns) == [
        content_id("prompt", "a", []),
        content_id("prompt", "b", turns[1]),
    ]


def test_the_order_of_keys_does_not_matter():
    assert content_id("x", {"a": 1, "b": 2}) == content_id("x", {"b": 2, "a": 1})


def test_a_request_is_known_by_provider_model_body_and_sample():
    keys = {
        request_key("openai", "m", b"{}"),
        request_key("anthropic", "m", b"{}"),
        request_key("openai", "n", b"{}"),
        request_key("openai", "m", b"{ }"),
        request_key("openai", "m", b"{}", 1),
    }
    assert len(keys) == 5


def test_ids_are_what_they_were_in_the_first_version():
    assert content_id("prompt", "Why is the sky blue?", []) == "4710dfcf3045f963cee5cd09d0fe0a0a"
    assert request_key("openai", "m", b"{}") == "b50b961d7ea858baaf54cd17d15fdc280e1b32c961168afeb113d3d84de4a591"


def test_a_folder_is_known_by_names_sizes_and_bytes_spread_over_large_files(tmp_path):
    weights, config = tmp_path / "model.safetensors", tmp_path / "config.json"
    whole = random.Random(1).randbytes(5_000_000)
    digests = set()
    for content in (
        whole,
        b"?" + whole[1:],
        whole[:-1] + b"?",
        whole[:2_000_000] + bytes(50_000) + whole[2_050_000:],
        whole + b"?",
    ):
        weights.write_bytes(content)
        config.write_text("{}")
        digests.add(folder_digest(tmp_path))
    config.write_text("{ }")
    digests.add(folder_digest(tmp_path))
    config.rename(tmp_path / "other.json")
    digests.add(folder_digest(tmp_path))
    assert len(digests) == 7
