"""Exact attention inside each row of a packed sequence, given to transformers' models through `AttentionInterface`.

On CUDA in half precision one variable-length kernel of torch; elsewhere one call for each row. The bounds of the rows
travel as the keyword arguments that transformers hands down to its attention functions, so nothing is global.
"""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from itertools import pairwise
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention

from schemas.errors import StageError

NAME = "rows_apart"
LARGEST_HEAD = 256
"""Of torch's variable-length kernel."""


@contextmanager
def rows_apart(model: Any) -> Iterator[None]:
    """Inside the block `model` attends within rows of packed sequences; after it as before.

    Raises StageError for a model whose attention is none of softmax(scale · query · key) alone.
    """
    from transformers import AttentionInterface

    before = model.config._attn_implementation
    capped = [name for name in ("attn_logit_softcapping", "final_logit_softcapping") if getattr(model.config, name, 0)]
    if capped or not model._can_set_attn_implementation():
        raise StageError(
            f"train: the attention of {model.config.model_type} cannot be packed"
            + (f" ({capped[0]} is set)" if capped else ""),
            do="name a base like Llama, Gemma 1 or Qwen with train.base",
        )
    AttentionInterface.register(NAME, attend)
    model.set_attn_implementation(NAME)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def attend(
    module: Any,  # noqa: ARG001 - transformers passes the layer first
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: None,  # noqa: ARG001
    scaling: float | None = None,
    sliding_window: int | None = None,
    *,
    cu_seq_lens_q: torch.Tensor,
    max_length_q: int,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention of one packed sequence: query (1, heads, tokens, size) to (1, tokens, heads, size).

    cu_seq_lens_q: int32, where each row starts, and the end. max_length_q: tokens of the longest row.
    """
    if query.is_cuda and torch.is_autocast_enabled("cuda"):  # rotary embeddings leave query and key in float32
        query, key, value = (one.to(torch.get_autocast_dtype("cuda")) for one in (query, key, value))
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    if query.is_cuda and query.dtype in {torch.float16, torch.bfloat16} and query.shape[-1] <= LARGEST_HEAD:
        return _by_kernel(query, key, value, cu_seq_lens_q, max_length_q, scale, sliding_window)[None], None
    return _row_by_row(query, key, value, cu_seq_lens_q, scale, sliding_window), None


def _row_by_row(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, bounds: torch.Tensor, scale: float, window: int | None
) -> torch.Tensor:
    is_grouped = query.shape[1] != key.shape[1]
    rows = []
    for start, stop in pairwise(bounds.tolist()):
        one_query, one_key, one_value = (one[:, :, start:stop] for one in (query, key, value))
        mask = _window(one_query, window)
        rows.append(
            scaled_dot_product_attention(
                one_query, one_key, one_value, mask, is_causal=mask is None, scale=scale, enable_gqa=is_grouped
            )
        )
    return torch.cat(rows, dim=2).transpose(1, 2).contiguous()


def _window(query: torch.Tensor, window: int | None) -> torch.Tensor | None:
    """True where a token may look: at itself and the `window` - 1 tokens before it. None where that is all of them."""
    tokens = query.shape[2]
    if window is None or tokens <= window:
        return None
    places = torch.arange(tokens, device=query.device)
    back = places[:, None] - places[None, :]
    return (back >= 0) & (back < window)


def _by_kernel(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    bounds: torch.Tensor,
    longest: int,
    scale: float,
    window: int | None,
) -> torch.Tensor:
    from torch.nn.attention.varlen import varlen_attn

    known = _kernel_parameters()
    if query.shape[1] != key.shape[1] and "enable_gqa" not in known:
        key, value = (one.repeat_interleave(query.shape[1] // one.shape[1], dim=1) for one in (key, value))
    if "scale" not in known:
        query = query * (scale * query.shape[-1] ** 0.5)
    given: dict[str, Any] = {"scale": scale, "enable_gqa": query.shape[1] != key.shape[1]}
    if "window_size" in known:
        given["window_size"] = (-1 if window is None else window - 1, 0)
    else:
        given["is_causal"] = True
    query, key, value = (one[0].transpose(0, 1).contiguous() for one in (query, key, value))
    named = {name: value for name, value in given.items() if name in known}
    made: Any = varlen_attn(query, key, value, bounds, bounds, longest, longest, **named)
    return made  # type: ignore[no-any-return]


@cache
def _kernel_parameters() -> frozenset[str]:
    """torch 2.10 says `is_causal`, later ones `window_size`; `enable_gqa` came with 2.12."""
    from torch.nn.attention.varlen import varlen_attn

    return frozenset(inspect.signature(varlen_attn).parameters)
