"""Drafts change how many passes a correction takes, never what is written."""

import pytest
import torch

from curate.training import models
from curate.training.drafting import place_in, write
from curate.training.tokens import token_rows
from curate.training.writing import write_corrections, write_from_drafts
from tests.unit_aligner import unseen

TEST = unseen(60)
PROMPTS = [row.prompt for row in TEST]
ANSWERS = [row.answer for row in TEST]


def from_drafts(model, tokenizer, drafts, max_new_tokens=40, tokens_per_batch=1024):
    prompts = PROMPTS[: len(drafts)]
    return write_from_drafts(model, tokenizer, prompts, drafts, max_new_tokens, tokens_per_batch, lambda _: None)


def one_by_one(model, tokenizer, max_new_tokens=40, count=60):
    return write_corrections(model, tokenizer, PROMPTS[:count], max_new_tokens, 1, lambda _: None)


@pytest.fixture(scope="module")
def expected(unit_aligner):
    return one_by_one(*unit_aligner)


@pytest.mark.parametrize("tokens_per_batch", [1, 300, 100_000])
def test_a_trained_model_writes_what_it_writes_token_by_token(unit_aligner, expected, tokens_per_batch):
    assert from_drafts(*unit_aligner, ANSWERS, tokens_per_batch=tokens_per_batch) == expected


@pytest.mark.parametrize(
    "drafts",
    [[""] * 60, ANSWERS[1:] + ANSWERS[:1], [text * 9 for text in ANSWERS], [row.correction for row in TEST]],
    ids=["none", "of other rows", "nine times", "the corrections"],
)
def test_any_draft_leads_to_the_same_text(unit_aligner, expected, drafts):
    assert from_drafts(*unit_aligner, drafts) == expected


@pytest.mark.parametrize("max_new_tokens", [1, 2, 7, 18])
def test_a_text_is_cut_where_it_would_be_cut_token_by_token(unit_aligner, max_new_tokens):
    cut = one_by_one(*unit_aligner, max_new_tokens, 20)
    assert from_drafts(*unit_aligner, ANSWERS[:20], max_new_tokens) == cut


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("tokens_per_batch", [1, 2048])
def test_a_model_that_accepts_nothing_writes_the_same_as_well(unit_aligner, seed, tokens_per_batch):
    model, tokenizer = models.tiny_model(unit_aligner[1], 256, seed), unit_aligner[1]
    written = one_by_one(model, tokenizer, 30, 12)
    assert from_drafts(model, tokenizer, ANSWERS[:12], 30, tokens_per_batch) == written


def test_a_model_whose_cache_forgets_writes_the_same_without_it(unit_aligner):
    from transformers import MistralConfig, MistralForCausalLM

    torch.manual_seed(0)
    tokenizer = unit_aligner[1]
    small = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = MistralConfig(vocab_size=len(tokenizer), sliding_window=16, num_key_value_heads=2, **small)
    model = MistralForCausalLM(config)
    assert from_drafts(model, tokenizer, ANSWERS[:12], 12) == one_by_one(model, tokenizer, 12, 12)


def test_an_unchanged_answer_takes_one_pass_and_a_changed_one_fewer_than_its_tokens(unit_aligner):
    model, tokenizer = unit_aligner
    rows = token_rows(tokenizer, [row.row_id for row in TEST], PROMPTS, ANSWERS)
    written = [one for batch in write(model, rows, 40, 1024) for one in batch]
    unchanged, changed = ([one for one in written if one.is_unchanged is kind] for kind in (True, False))
    assert unchanged
    assert {one.passes for one in unchanged} == {1}
    assert sum(one.passes for one in changed) < sum(len(one.ids) + 1 for one in changed) / 2
    assert all(one.has_ended for one in written)


def test_a_text_that_reached_its_longest_length_has_not_ended(unit_aligner):
    model, tokenizer = unit_aligner
    rows = token_rows(tokenizer, ["a"], PROMPTS[:1], ANSWERS[:1])
    ((one,),) = write(model, rows, 5, 1024)
    assert (one.has_ended, one.is_unchanged, len(one.ids)) == (False, False, 5)


def test_no_rows_give_no_texts(unit_aligner):
    assert list(write(unit_aligner[0], [], 5, 1024)) == []
    assert write_from_drafts(*unit_aligner, [], [], 5, 1024, lambda _: None) == []


@pytest.mark.parametrize(
    ("written", "expected", "place"),
    [
        ([1, 2, 9, 4], 3, 4),  # another token was put in place of one
        ([1, 2, 9, 3], 3, 3),  # a token was put in
        ([1, 2, 4], 3, 4),  # a token was left out
        ([9], 3, 3),  # nothing fits: where it would be
        ([9], 99, 8),
        ([5, 1], 5, 6),  # 1 stands twice: the longer context decides
        ([1], 5, 6),  # the nearer one
        ([1], 2, 1),
    ],
)
def test_the_next_draft_starts_where_the_answer_fits_on(written, expected, place):
    assert place_in([1, 2, 3, 4, 5, 1, 6, 7], written, expected) == place
