"""From texts to token rows. Prompt and correction are tokenised apart, so the labels are exact."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class TokenRow:
    """One training row: `ids` are prompt, target and EOS; labels count from position `prompt_tokens` on."""

    row_id: str
    ids: list[int]
    prompt_tokens: int

    @property
    def target_tokens(self) -> int:
        """Tokens that carry loss, EOS included; the first token of a row never does."""
        return len(self.ids) - max(1, self.prompt_tokens)


def token_rows(
    tokenizer: Any, row_ids: Sequence[str], prompts: Sequence[str], targets: Sequence[str]
) -> list[TokenRow]:
    """Rows in the order given. The prompt's ids are those that a user of the Aligner gets for the same text."""
    if not row_ids:
        return []
    before = prompt_ids(tokenizer, prompts)
    after = _text_ids(tokenizer, targets)
    return [
        TokenRow(row_id, [*prompt, *target, tokenizer.eos_token_id], len(prompt))
        for row_id, prompt, target in zip(row_ids, before, after, strict=True)
    ]


def prompt_ids(tokenizer: Any, prompts: Sequence[str]) -> list[list[int]]:
    """Ids of each prompt, after BOS where the tokenizer has one."""
    bos = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    return [bos + ids for ids in _text_ids(tokenizer, prompts)]


def _text_ids(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Ids of texts alone. A text that spells a control token ("</s>") is text: it never becomes that token."""
    found: list[list[int]] = tokenizer(list(texts), add_special_tokens=False, split_special_tokens=True)["input_ids"]
    return found
