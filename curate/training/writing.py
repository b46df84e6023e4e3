"""The trained Aligner writes corrections, greedily: from the answers as drafts, or token by token."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from curate.training.drafting import Written, write
from curate.training.tokens import prompt_ids, token_rows


def write_from_drafts(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[str],
    drafts: Sequence[str],
    max_new_tokens: int,
    tokens_per_batch: int,
    say: Callable[[str], None],
) -> list[str]:
    """What `write_corrections` gives, in fewer passes. drafts: the target of each prompt's answer."""
    numbers = [str(number) for number in range(len(prompts))]
    written: dict[str, str] = {}
    texts = dict(zip(numbers, drafts, strict=True))
    for batch in write(model, token_rows(tokenizer, numbers, prompts, drafts), max_new_tokens, tokens_per_batch):
        written.update({one.row_id: text_of(tokenizer, one, texts[one.row_id]) for one in batch})
        say(f"{len(written)} of {len(prompts)} corrections written")
    return [written[number] for number in numbers]


def text_of(tokenizer: Any, written: Written, draft: str) -> str:
    """The text that was written: the draft itself where it stayed, whatever its tokens would decode to."""
    if written.is_unchanged:
        return draft
    return str(tokenizer.decode(written.ids, skip_special_tokens=True))


@torch.no_grad()
def write_corrections(
    model: Any, tokenizer: Any, prompts: Sequence[str], max_new_tokens: int, batch_rows: int, say: Callable[[str], None]
) -> list[str]:
    """The correction to each rendered prompt, in order, token by token: what drafts are measured by."""
    model.eval()
    device = next(model.parameters()).device
    ids = prompt_ids(tokenizer, prompts)
    by_length = sorted(range(len(ids)), key=lambda number: (len(ids[number]), number))
    written = [""] * len(ids)
    for start in range(0, len(by_length), batch_rows):
        numbers = by_length[start : start + batch_rows]
        longest = max(len(ids[number]) for number in numbers)
        batch = torch.full((len(numbers), longest), tokenizer.pad_token_id, dtype=torch.int64)
        mask = torch.zeros_like(batch)
        for row, number in enumerate(numbers):
            batch[row, longest - len(ids[number]) :] = torch.tensor(ids[number])
            mask[row, longest - len(ids[number]) :] = 1
        with torch.autocast("cuda", torch.bfloat16, enabled=device.type == "cuda"):
            out = model.generate(
                input_ids=batch.to(device),
                attention_mask=mask.to(device),
                max_new_tokens=max_new_tokens,
                do_sample=False,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
        for number, text in zip(
            numbers, tokenizer.batch_decode(out[:, longest:], skip_special_tokens=True), strict=True
        ):
            written[number] = text
        say(f"{min(start + batch_rows, len(ids))} of {len(ids)} corrections written")
    return written
