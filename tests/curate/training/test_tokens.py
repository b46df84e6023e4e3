"""Rows end in EOS, labels start where the prompt ends, and texts stay texts."""

import pytest
import torch

from curate.training import models
from curate.training.loop import schedule, train
from curate.training.packing import pack_of
from curate.training.settings import settings
from curate.training.templates import TEMPLATES, WRAPPER
from curate.training.tokens import prompt_ids, token_rows
from schemas.errors import StageError

TEXTS = ["How tall is the tower?", "It is 30 metres tall.", "It is about thirty metres tall, I think."]


@pytest.fixture(scope="module")
def tokenizer():
    return models.train_tokenizer(TEXTS, 300)


@pytest.fixture
def made(tokenizer):
    prompts = [TEMPLATES["T3"].prompt("How tall?", text) for text in TEXTS]
    return token_rows(tokenizer, ["a", "b", "c"], prompts, TEXTS[::-1])


def test_every_row_ends_in_eos_and_carries_loss_on_it(tokenizer, made):
    for row in made:
        assert row.ids[-1] == tokenizer.eos_token_id != tokenizer.pad_token_id
        assert pack_of([row], torch.device("cpu")).targets.tolist() == row.ids[row.prompt_tokens :]


@pytest.mark.parametrize("template", TEMPLATES)
def test_ids_before_the_first_label_are_those_of_the_prompt_alone(tokenizer, template):
    prompt = TEMPLATES[template].prompt("Why?", "Because.")
    row = token_rows(tokenizer, ["a"], [prompt], [" So it is."])[0]
    assert row.ids[: row.prompt_tokens] == prompt_ids(tokenizer, [prompt])[0]
    assert row.ids[0] == tokenizer.bos_token_id
    assert tokenizer.decode(row.ids[1:-1]) == prompt + " So it is."


def test_a_tokenizer_without_bos_gets_none(tokenizer):
    tokenizer = models.train_tokenizer(TEXTS, 300)
    tokenizer.bos_token = None
    assert tokenizer.decode(prompt_ids(tokenizer, ["Why?"])[0]) == "Why?"


def test_no_texts_make_no_rows(tokenizer):
    assert token_rows(tokenizer, [], [], []) == []


def test_the_schedule_rises_falls_and_never_leaves_0_to_1():
    shares = [schedule(step, 100, 0.1) for step in range(1, 101)]
    assert shares[9] == max(shares) == 1.0
    assert shares[:10] == sorted(shares[:10])
    assert shares[9:] == sorted(shares[9:], reverse=True)
    assert 0 < shares[-1] < 0.01


def test_texts_with_braces_are_shown_as_they_are():
    text = TEMPLATES["T1"].prompt("{answer} {0}", "{question} {input}")
    before = "Edit the following Question-Answer pair to make it more helpful and harmless: "
    assert text == WRAPPER.replace("{input}", before + "@").replace("@", "{answer} {0} | {question} {input}")


def test_a_loss_that_is_not_finite_stops_the_run(tokenizer, made):
    wild = models.tiny_model(tokenizer, 128, seed=0)
    hot = settings("tiny", TEMPLATES["T1"], 0.0, 1, "cpu", lr_peak=1e30, tokens_per_step=64)
    with pytest.raises(StageError, match="the loss of step 2 \\(correct\\) is [0-9.]+, its gradient nan"):
        train(wild, made, 9, hot, "correct", lambda _: None)


def test_a_text_that_spells_a_control_token_stays_text(tokenizer):
    (row,) = token_rows(tokenizer, ["a"], ["Is </s> a tag?"], ["Write </s> and <pad> and <s>."])
    controls = {tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id}
    assert [position for position, one in enumerate(row.ids) if one in controls] == [0, len(row.ids) - 1]
    assert tokenizer.decode(row.ids[1:-1]) == "Is </s> a tag?Write </s> and <pad> and <s>."
