"""The model and the tokenizer: a tiny Llama from scratch, or a pretrained base; saving and loading both."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from schemas.errors import StageError

if TYPE_CHECKING:
    from curate.training.settings import Settings

PAD, BOS, EOS = "<pad>", "<s>", "</s>"


def chosen_device(device: str) -> torch.device:
    """auto takes CUDA where there is one. Raises StageError if CUDA is asked for and absent."""
    if device == "cuda" and not torch.cuda.is_available():
        raise StageError('train: device = "cuda", but torch sees no CUDA device', do='use device = "auto"')
    return torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")


def train_tokenizer(texts: Iterable[str], vocabulary_size: int) -> Any:
    """A byte-level BPE tokenizer from scratch; any text can be encoded. `texts` in a fixed order give fixed merges.

    It puts BOS before each text, as servers of completions expect it.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=[PAD, BOS, EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A {BOS} $B", special_tokens=[(BOS, tokenizer.token_to_id(BOS))]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=PAD, bos_token=BOS, eos_token=EOS)


def tiny_model(tokenizer: Any, max_tokens: int, seed: int) -> Any:
    """A Llama of hidden size 64, 2 layers, 4 heads, tied embeddings, initial deviation .05; about .1M weights
    beside the embeddings.
    """
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=2 * max_tokens,
        tie_word_embeddings=True,
        initializer_range=0.05,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return LlamaForCausalLM(config)


def quiet() -> None:
    """No progress bars of transformers: ours say how far the work is."""
    from transformers.utils import logging

    logging.disable_progress_bar()


def load(base: str, device: torch.device) -> tuple[Any, Any]:
    """Model (fp32 masters; CUDA computes in bf16) and tokenizer of a hub name or directory. Raises StageError."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    quiet()
    try:
        tokenizer = AutoTokenizer.from_pretrained(base)
        model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    except (OSError, ValueError) as error:
        raise StageError(
            f"the model {base} cannot be loaded: {str(error).splitlines()[0]}",
            do="name a directory or a reachable hub model with train.base",
        ) from error
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id == tokenizer.eos_token_id:
        tokenizer.add_special_tokens({"pad_token": PAD})
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    model.config.pad_token_id = tokenizer.pad_token_id
    return model.to(device), tokenizer


def start(settings: "Settings", texts: Iterable[str], device: torch.device) -> tuple[Any, Any]:
    """What training starts from: the base where one is named, else a tiny model and a tokenizer made for `texts`."""
    if settings.base is not None:
        return load(settings.base, device)
    tokenizer = train_tokenizer(texts, settings.vocabulary_size)
    return tiny_model(tokenizer, settings.max_tokens, settings.seed).to(device), tokenizer


def save(model: Any, tokenizer: Any, folder: Path) -> None:
    """Write safetensors, configuration and tokenizer so that `load` and transformers read them back.

    Generation is greedy; all three agree on BOS, EOS and padding, whatever the base said.
    """
    from transformers import GenerationConfig

    quiet()
    ids = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    model.generation_config = GenerationConfig(do_sample=False, **ids)
    for name, one in ids.items():
        setattr(model.config, name, one)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
