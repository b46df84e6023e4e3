"""Models are saved so that transformers reads them, loaded from a directory as a base, and refused clearly."""

import shutil

import pytest
import torch

from curate.config.reading import read_pipeline
from curate.pipeline import run_stage
from curate.store.run import RunStore
from curate.training import models
from curate.training.tokens import prompt_ids
from schemas.errors import StageError


@pytest.fixture(scope="module")
def trained(finished):
    return str(RunStore(finished.workdir).file("train", "aligner"))


def test_a_saved_model_gives_the_same_logits(tmp_path):
    tokenizer = models.train_tokenizer(["some text to learn from"], 300)
    model = models.tiny_model(tokenizer, 64, seed=1).eval()
    models.save(model, tokenizer, tmp_path)
    again, _ = models.load(str(tmp_path), torch.device("cpu"))
    ids = torch.arange(20).reshape(1, 20)
    assert torch.equal(again.eval()(input_ids=ids).logits, model(input_ids=ids).logits)


def test_tokenizer_model_and_generation_agree_on_control_tokens(trained):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(trained), AutoModelForCausalLM.from_pretrained(trained)
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        assert getattr(tokenizer, name) == getattr(model.config, name) == getattr(model.generation_config, name)
    assert tokenizer.pad_token_id != tokenizer.eos_token_id


def test_what_a_base_said_of_generation_is_gone(tmp_path):
    from transformers import GenerationConfig

    tokenizer = models.train_tokenizer(["some text to learn from"], 300)
    model = models.tiny_model(tokenizer, 64, seed=1)
    model.generation_config = GenerationConfig(do_sample=True, temperature=0.6, eos_token_id=[7, 8], bos_token_id=9)
    models.save(model, tokenizer, tmp_path)
    saved = GenerationConfig.from_pretrained(tmp_path)
    assert (saved.do_sample, saved.temperature, saved.eos_token_id) == (False, None, tokenizer.eos_token_id)


def test_a_server_of_completions_puts_bos_before_the_prompt_as_training_does():
    tokenizer = models.train_tokenizer(["some text to learn from"], 300)
    assert tokenizer("some text")["input_ids"] == prompt_ids(tokenizer, ["some text"])[0]


def test_training_goes_on_from_a_local_base(small, finished, trained):
    small.write_text(small.read_text().replace('preset = "tiny"', f'preset = "tiny"\nbase = "{trained}"'))
    pipeline = read_pipeline(small)
    for stage in ("filter", "generate", "dedup", "annotate", "release", "train"):
        run_stage(pipeline, stage, lambda _: None, again=False)
    before = RunStore(finished.workdir).published("train").notes["last_loss"]
    assert RunStore(pipeline.workdir).published("train").notes["last_loss"] < before


def test_a_base_without_a_padding_token_gets_one(tmp_path):
    tokenizer = models.train_tokenizer(["some text to learn from"], 300)
    model = models.tiny_model(tokenizer, 64, seed=1)
    models.save(model, tokenizer, tmp_path)
    config = tmp_path / "tokenizer_config.json"
    config.write_text(config.read_text().replace('"pad_token": "<pad>"', '"pad_token": "</s>"'))
    loaded, found = models.load(str(tmp_path), torch.device("cpu"))
    assert found.pad_token_id != found.eos_token_id
    assert loaded.get_input_embeddings().num_embeddings >= len(found)


def test_a_base_that_cannot_be_loaded_is_told(tmp_path):
    with pytest.raises(StageError, match="no/such-model cannot be loaded"):
        models.load("no/such-model", torch.device("cpu"))


def test_too_many_rows_over_the_longest_length_stop_the_stage(finished, tmp_path):
    shutil.copytree(finished.folder, tmp_path / "copy")
    config = tmp_path / "copy" / "pipelines.toml"
    config.write_text(config.read_text().replace("max_tokens = 256", "max_tokens = 60"))
    with pytest.raises(StageError, match="[0-9]+ of [0-9]+ rows \\([0-9.]+%\\) are longer than 60 tokens; 1.0% may be"):
        run_stage(read_pipeline(config), "train", lambda _: None, again=False)


def test_rows_over_the_longest_length_are_dropped_with_a_verdict(small):
    small.write_text(small.read_text().replace("max_tokens = 256", "max_tokens = 60\nmax_too_long_share = 1.0"))
    pipeline = read_pipeline(small)
    for stage in ("filter", "generate", "dedup", "annotate", "release", "train"):
        run_stage(pipeline, stage, lambda _: None, again=False)
    trained = RunStore(pipeline.workdir).published("train")
    assert 0 < trained.dropped_by["train.tokens"] < trained.accounting.rows_in
    assert RunStore(pipeline.workdir).table("train", "rows").collect()["target_tokens"].min() > 0
