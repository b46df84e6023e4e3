"""LoRA (arXiv 2106.09685) by peft: small trained adapters beside frozen weights; merging them, and saving them alone.

The layers are put into the transformers model itself, which stays what it is: packing, drafts and losses need not know.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.functional import cast_adapter_dtype
from peft.tuners.lora import Linear, LoraLayer
from peft.utils import CONFIG_NAME, SAFETENSORS_WEIGHTS_NAME
from peft.utils.other import transpose
from safetensors.torch import load_file, save_file

from curate.training.settings import Lora
from curate.training.sharding import put
from schemas.errors import StageError

NAME = "default"
"""peft's own name of a model's only adapter."""


def adapt(model: Any, lora: Lora, seed: int) -> Any:
    """The model itself, all weights frozen, with new adapters beside them that change nothing until they are trained.

    Raises StageError where the targets are not in the model, or are its embeddings or head.
    """
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(lora.targets) or "all-linear",
        task_type="CAUSAL_LM",
    )
    torch.manual_seed(seed)
    try:
        inject_adapter_in_model(config, model, NAME)
    except ValueError as error:
        raise StageError(
            f"train.lora: no adapters for {model.config.model_type}: {str(error).splitlines()[0]}",
            do='name linear layers of the model, such as targets = ["q_proj"], or leave train.lora.targets out',
        ) from error
    cast_adapter_dtype(model, NAME)  # float32, whatever the base has
    layers = [layer for layer in model.modules() if isinstance(layer, LoraLayer)]
    if model.get_output_embeddings() in layers or not all(isinstance(layer, Linear) for layer in layers):
        raise StageError(
            "train.lora.targets name the embeddings or the head, which may be one matrix and then cannot be merged",
            do="name linear layers of the decoder, or leave train.lora.targets out",
        )
    names = [name for name, module in model.named_modules() if isinstance(module, LoraLayer)]
    for target in lora.targets:
        if not any(f".{name}".endswith(f".{target}") for name in names):
            raise StageError(
                f"train.lora.targets names {target}, and no layer of {model.config.model_type} is called so",
                do="name linear layers of the decoder, or leave train.lora.targets out",
            )
    return model


def merged(model: Any, weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """All weights by their names in the plain model, the adapters added, float32 on the CPU.

    weights: those of `model`, whole; neither is changed.
    """
    adapted = {name: layer for name, layer in model.named_modules() if isinstance(layer, Linear)}
    trained = _trained(model)
    tensors: dict[str, torch.Tensor] = {}
    for name, value in weights.items():
        if name in trained:
            continue
        owner, is_adapted, kind = name.rpartition(".base_layer.")
        whole = value.detach().to("cpu", torch.float32)
        if is_adapted and kind == "weight":
            down, up = (weights[f"{owner}.{part}.{NAME}.weight"].detach().cpu() for part in ("lora_A", "lora_B"))
            layer = adapted[owner]
            whole = whole + transpose(up @ down, layer.fan_in_fan_out) * layer.scaling[NAME]
        tensors[f"{owner}.{kind}" if is_adapted else name] = whole
    return tensors


def save(model: Any, weights: Mapping[str, torch.Tensor], base: str, folder: Path) -> None:
    """Write the adapter alone, as peft and vLLM read it.

    weights: those of `model`, whole. base: what `adapter_config.json` is to name as its base.
    """
    told = {**model.peft_config[NAME].to_dict(), "base_model_name_or_path": base, "inference_mode": True}
    ordered = {key: sorted(value) if isinstance(value, set) else value for key, value in told.items()}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG_NAME).write_text(json.dumps(ordered, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    named = {_their_name(name): weights[name].detach().cpu().contiguous() for name in sorted(_trained(model))}
    save_file(named, folder / SAFETENSORS_WEIGHTS_NAME, metadata={"format": "pt"})


def read(model: Any, folder: Path) -> None:
    """Put the adapter that `save` wrote into a model that has one of the same make."""
    tensors = load_file(folder / SAFETENSORS_WEIGHTS_NAME)
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name in sorted(_trained(model)):
            put(parameters[name], tensors[_their_name(name)])


def _trained(model: Any) -> set[str]:
    return {name for name, one in model.named_parameters() if one.requires_grad}


def _their_name(name: str) -> str:
    """Of a weight in peft's files."""
    return f"base_model.model.{name.replace(f'.{NAME}.', '.')}"
