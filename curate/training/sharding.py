"""FSDP2: of each weight, its gradient and its moments a process holds one part (ZeRO-3), gathered where it is used.

Each decoder layer is gathered by itself, what stands outside of them (embeddings, last norm, head) once a pass; after
each pass all is in parts again. On CUDA weights are gathered in bfloat16 and gradients summed in float32; what is kept
is float32.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor

from curate.training.attention import rows_apart
from curate.training.losses import losses_of
from curate.training.models import layers_of
from curate.training.ranks import Ranks


def sharded(whole: Any | None, ranks: Ranks, device: torch.device, made: Callable[[Any], Any]) -> Any:
    """The model in parts over all processes. Only the first has it whole, on the CPU; the others give None.

    made: makes a model of a configuration. A device's memory holds its parts and one whole weight. Raises StageError
    where its attention cannot be packed.
    """
    told = [None if whole is None else whole.config]
    dist.broadcast_object_list(told, device=device)
    with torch.device("meta"):
        model = made(told[0])
    with rows_apart(model):
        pass  # refused here or not at all: what is looked at is the class, and FSDP puts one of its own in its place
    policy = MixedPrecisionPolicy(torch.bfloat16, torch.float32) if device.type == "cuda" else MixedPrecisionPolicy()
    mesh = init_device_mesh(device.type, (ranks.count,))
    for part in (*layers_of(model), model):
        fully_shard(part, mesh=mesh, mp_policy=policy, reshard_after_forward=True)
    model.to_empty(device=device)
    hand_out(whole, model, ranks)
    model.losses = partial(losses_of, model)
    register_fsdp_forward_method(model, "losses")
    return model


def hand_out(whole: Any | None, model: Any, ranks: Ranks) -> None:
    """Put the weights and buffers of a whole model, which only the first process has, into that of each process."""
    given = {} if whole is None else {**dict(whole.named_parameters()), **dict(whole.named_buffers())}
    with torch.no_grad():
        for name, part in [*model.named_parameters(), *model.named_buffers()]:
            if ranks.is_first:
                weight = given[name].to(part.device).contiguous()
            else:
                weight = torch.empty(part.shape, dtype=part.dtype, device=part.device)
            if ranks.count > 1:
                dist.broadcast(weight, 0)
            put(part, weight)


def gather(tensor: torch.Tensor) -> torch.Tensor:
    """A weight as one tensor, where it is; all processes must ask for the same one."""
    return (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).detach()


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """The same on the CPU."""
    return gather(tensor).cpu().contiguous()


def gathered(model: Any, ranks: Ranks) -> dict[str, torch.Tensor]:
    """All weights, whole and on the CPU, in the first process; nothing in the others, which must ask with it."""
    if ranks.is_first:
        return {name: whole(one) for name, one in model.named_parameters()}
    for one in model.parameters():
        gather(one)
    return {}


def alike(tensor: torch.Tensor, parameter: torch.Tensor) -> torch.Tensor:
    """A whole tensor in the parts of a parameter; as it is where that is whole."""
    if not isinstance(parameter, DTensor) or tensor.shape != parameter.shape:
        return tensor
    on_device = tensor.to(parameter.device)
    return distribute_tensor(on_device, parameter.device_mesh, parameter.placements, src_data_rank=None)


def put(parameter: torch.Tensor, tensor: torch.Tensor) -> None:
    """Write a whole tensor into a parameter, which may be in parts; inside `torch.no_grad`."""
    parameter.copy_(alike(tensor, parameter))
