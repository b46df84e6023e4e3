"""Tiny models of two makes with random weights, and rows of random tokens."""

import random
from typing import Any

import torch
from transformers import GemmaConfig, GemmaForCausalLM, LlamaConfig, LlamaForCausalLM

from curate.training.tokens import TokenRow

VOCABULARY = 300
SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 512,
    "initializer_range": 0.05,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def model(make: str = "llama", **more: Any) -> Any:
    """Four query heads on two (llama) or one (gemma) heads of keys."""
    torch.manual_seed(0)
    if make == "gemma":
        return GemmaForCausalLM(GemmaConfig(**SHAPE, num_key_value_heads=1, head_dim=32, **more))
    return LlamaForCausalLM(LlamaConfig(**SHAPE, num_key_value_heads=2, tie_word_embeddings=False, **more))


def rows(count: int, longest: int = 60) -> list[TokenRow]:
    """Rows of 5 to `longest` tokens, the first 1 to 4 of them prompt."""
    draw = random.Random(count)
    return [
        TokenRow(
            f"{number:032x}",
            [draw.randrange(VOCABULARY) for _ in range(draw.randint(5, longest))],
            draw.randint(1, 4),
        )
        for number in range(count)
    ]
