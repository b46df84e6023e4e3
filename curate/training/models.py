"""The model and the tokenizer: a tiny Llama from scratch, or a pretrained base; saving and loading both."""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError

from schemas.errors import MissingExtraError, StageError

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


def layers_of(model: Any) -> list[Any]:
    """The decoder layers: what transformers says that no device may split. FSDP puts its name before theirs."""
    names = {name for one in model._no_split_modules for name in (one, f"FSDP{one}")}
    return [module for module in model.modules() if type(module).__name__ in names]


def compile_layers(model: Any, *, is_on: bool) -> None:
    """Compile what each decoder layer computes, or take that back. The hooks of FSDP stay outside: with them inside
    nothing would be compiled.
    """
    for layer in layers_of(model):
        vars(layer).pop("forward", None)
        if is_on:
            layer.forward = torch.compile(layer.forward, dynamic=True)


def quiet() -> None:
    """No progress bars of transformers: ours say how far the work is."""
    from transformers.utils import logging

    logging.disable_progress_bar()


def load(base: str, device: torch.device, dtype: torch.dtype = torch.float32) -> tuple[Any, Any]:
    """Model (fp32 masters; CUDA computes in bf16) and tokenizer of a hub name or directory. Raises StageError."""
    from transformers import AutoModelForCausalLM

    tokenizer = load_tokenizer(base)
    with _loading(base):
        model = AutoModelForCausalLM.from_pretrained(base, dtype=dtype)
    if len(tokenizer) > model.get_input_embeddings().num_embeddings:
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    model.config.pad_token_id = tokenizer.pad_token_id
    return model.to(device), tokenizer


def load_tokenizer(base: str) -> Any:
    """The tokenizer of a hub name or directory, with a padding token of its own. Raises StageError."""
    from transformers import AutoTokenizer

    quiet()
    with _loading(base):
        tokenizer = AutoTokenizer.from_pretrained(base)
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id == tokenizer.eos_token_id:
        tokenizer.add_special_tokens({"pad_token": PAD})
    return tokenizer


def empty(config: Any) -> Any:
    """A model of a configuration in float32, its weights of no meaning."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_config(config, dtype=torch.float32)


@contextmanager
def _loading(base: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, SafetensorError) as error:
        raise StageError(
            f"the model {base} cannot be loaded: {str(error).splitlines()[0]}",
            do="name a whole directory or a reachable hub model",
        ) from error


def start_tokenizer(settings: "Settings", texts: Iterable[str]) -> Any:
    """The base's tokenizer, or one made for `texts` where the training starts from scratch."""
    if settings.base is not None:
        return load_tokenizer(settings.base)
    return train_tokenizer(texts, settings.vocabulary_size)


def start_model(settings: "Settings", tokenizer: Any) -> Any:
    """What training starts from, on the CPU: the base where one is named, else a tiny model."""
    if settings.base is None:
        return tiny_model(tokenizer, settings.max_tokens, settings.seed)
    adapted = adapting(settings)
    is_half = settings.lora is not None and chosen_device(settings.device).type == "cuda"
    model, _ = load(settings.base, torch.device("cpu"), torch.bfloat16 if is_half else torch.float32)
    return adapted(model)


def adapting(settings: "Settings") -> Callable[[Any], Any]:
    """What puts new adapters into a model, whose own weights then stay as they are; without LoRA it does nothing.

    Raises MissingExtraError.
    """
    if settings.lora is None:
        return lambda model: model
    try:
        from curate.training.lora import adapt
    except ImportError as error:
        raise MissingExtraError("LoRA", "peft", "lora") from error
    return partial(adapt, lora=settings.lora, seed=settings.seed)


def is_adapted(model: Any) -> bool:
    """Whether adapters were put into the model."""
    return hasattr(model, "peft_config")


def save(model: Any, tokenizer: Any, folder: Path, weights: dict[str, torch.Tensor] | None = None) -> None:
    """Write safetensors, configuration and tokenizer so that `load` and transformers read them back.

    Generation is greedy; all three agree on BOS, EOS and padding, whatever the base said. weights: those of a model in
    parts, whole; a tied one once. Adapters are merged in the files, never in the model: taking them out again would not
    give the same bits.
    """
    from transformers import GenerationConfig

    quiet()
    ids = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    model.generation_config = GenerationConfig(do_sample=False, **ids)
    for name, one in ids.items():
        setattr(model.config, name, one)
    if is_adapted(model):
        from curate.training.lora import merged

        weights = merged(model, dict(model.named_parameters()) if weights is None else weights)
    with writable(folder):
        model.save_pretrained(folder, state_dict=weights)
    if is_adapted(model):
        model.config.dtype = "float32"  # not that of the frozen weights
        model.config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@contextmanager
def writable(folder: Path) -> Iterator[None]:
    """Raises StageError where safetensors cannot write what the block gives it."""
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        raise StageError(
            f"{folder} cannot be written: {error}",
            do="make room there, and run again: it goes on from the newest checkpoint",
        ) from error


def parameters_in(folder: Path) -> int:
    """How many weights a saved model has, told by its files' heads; a tied one counts once."""
    from safetensors import safe_open

    count = 0
    for path in folder.glob("*.safetensors"):
        with safe_open(path, "pt") as file:
            count += sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118
    return count
