"""LoRA (arXiv 2106.09685) by peft: small trained adapters beside frozen weights; merging them, and saving them alone.

The layers are put into the transformers model itself, which stays what it is: packing, drafts and losses need not know.
"""

import json
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model_state_dict, inject_adapter_in_model
from peft.functional import cast_adapter_dtype
from peft.tuners.lora import Linear, LoraLayer
from peft.utils import CONFIG_NAME, SAFETENSORS_WEIGHTS_NAME
from safetensors.torch import save_file

from curate.training.settings import Lora
from schemas.errors import StageError

NAME = "default"
"""peft's own name of a model's only adapter."""


def adapt(model: Any, lora: Lora, seed: int) -> None:
    """Freeze all weights and put new adapters beside them, in place; these change nothing until they are trained.

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


def merged(model: Any) -> dict[str, torch.Tensor]:
    """All weights by their names in the plain model, the adapters added, float32 on the CPU. `model` stays as it is."""
    adapted = {name: layer for name, layer in model.named_modules() if isinstance(layer, Linear)}
    trained = {name for name, one in model.named_parameters() if one.requires_grad}
    tensors: dict[str, torch.Tensor] = {}
    for name, value in model.state_dict().items():
        if name in trained:
            continue
        owner, is_adapted, kind = name.rpartition(".base_layer.")
        whole = value.to("cpu", torch.float32)
        if is_adapted and kind == "weight":
            whole = whole + adapted[owner].get_delta_weight(NAME).detach().cpu()
        tensors[f"{owner}.{kind}" if is_adapted else name] = whole
    return tensors


def save(model: Any, base: str, folder: Path) -> None:
    """Write the adapter alone, as peft and vLLM read it. base: what `adapter_config.json` is to name as its base."""
    told = {**model.peft_config[NAME].to_dict(), "base_model_name_or_path": base, "inference_mode": True}
    ordered = {key: sorted(value) if isinstance(value, set) else value for key, value in told.items()}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG_NAME).write_text(json.dumps(ordered, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    tensors = get_peft_model_state_dict(model, save_embedding_layers=False)
    named = {f"base_model.model.{name}": one.detach().cpu().contiguous() for name, one in tensors.items()}
    save_file(named, folder / SAFETENSORS_WEIGHTS_NAME, metadata={"format": "pt"})
