"""Rows end in EOS, labels start where the prompt ends, padding and batching change no loss."""

import random

import pytest
import torch

from curate.training import models
from curate.training.loop import row_losses, schedule, summed_loss, train
from curate.training.settings import settings
from curate.training.templates import TEMPLATES, WRAPPER
from curate.training.tokens import IGNORED, TokenRow, batches, prompt_ids, tensors, token_rows
from schemas.errors import StageError

TEXTS = ["How tall is the tower?", "It is 30 metres tall.", "It is about thirty metres tall, I think."]


@pytest.fixture(scope="module")
def tokenizer():
    return models.train_tokenizer(TEXTS, 300)


@pytest.fixture(scope="module")
def model(tokenizer):
    return models.tiny_model(tokenizer, 128, seed=0).eval()


@pytest.fixture
def made(tokenizer):
    prompts = [TEMPLATES["T3"].prompt("How tall?", text) for text in TEXTS]
    return token_rows(tokenizer, ["a", "b", "c"], prompts, TEXTS[::-1])


def test_every_row_ends_in_eos_and_carries_loss_on_it(tokenizer, made):
    batch = tensors(made, tokenizer.pad_token_id, torch.device("cpu"))
    for row, labels in zip(made, batch["labels"], strict=True):
        assert row.ids[-1] == tokenizer.eos_token_id != tokenizer.pad_token_id
        assert labels[labels != IGNORED].tolist() == row.ids[row.prompt_tokens :]


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


@torch.no_grad()
def test_padding_carries_no_loss(model, tokenizer, made):
    alone = [float(summed_loss(model, tensors([row], tokenizer.pad_token_id, torch.device("cpu")))) for row in made]
    together = float(summed_loss(model, tensors(made, tokenizer.pad_token_id, torch.device("cpu"))))
    assert together == pytest.approx(sum(alone), rel=1e-5)


def test_the_loss_of_a_row_does_not_depend_on_its_batch(model, made):
    small, large = row_losses(model, made, 1), row_losses(model, made[::-1], 10_000)
    for row_id, (loss, tokens) in small.items():
        assert large[row_id] == (pytest.approx(loss, rel=1e-5), tokens)


def test_gradients_of_one_batch_are_those_of_its_parts(model, tokenizer, made):
    def gradient(parts):
        model.zero_grad()
        for part in parts:
            summed_loss(model, tensors(part, tokenizer.pad_token_id, torch.device("cpu"))).backward()
        return torch.cat([one.grad.flatten() for one in model.parameters()])

    assert torch.allclose(gradient([made]), gradient([[row] for row in made]), rtol=1e-4, atol=1e-5)


def rows_of(*lengths: int) -> list[TokenRow]:
    return [TokenRow(str(number), list(range(length)), 1) for number, length in enumerate(lengths)]


def test_batches_hold_every_row_once_and_stay_within_their_tokens():
    rows = rows_of(*[7 + n % 23 for n in range(200)])
    for order in (None, random.Random(1)):
        made = list(batches(rows, 64, order))
        assert sorted(int(row.row_id) for batch in made for row in batch) == list(range(200))
        assert max(len(batch) * max(len(row.ids) for row in batch) for batch in made) <= 64


def test_a_row_longer_than_a_batch_has_one_of_its_own():
    assert [len(batch) for batch in batches(rows_of(5, 99, 5), 20, None)] == [1, 1, 1]


def test_no_rows_make_no_batches(tokenizer):
    assert list(batches([], 10, None)) == []
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
    with pytest.raises(StageError, match="the loss of step [0-9]+ \\(correct\\) is nan"):
        train(wild, made, 9, hot, "correct", lambda _: None)


def test_a_text_that_spells_a_control_token_stays_text(tokenizer):
    (row,) = token_rows(tokenizer, ["a"], ["Is </s> a tag?"], ["Write </s> and <pad> and <s>."])
    controls = {tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id}
    assert [position for position, one in enumerate(row.ids) if one in controls] == [0, len(row.ids) - 1]
    assert tokenizer.decode(row.ids[1:-1]) == "Is </s> a tag?Write </s> and <pad> and <s>."
