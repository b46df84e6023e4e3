"""An Aligner in a folder corrects rows on this machine."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.correcting.journal import Line
from curate.correcting.rows import Row
from schemas.errors import UsageError

if TYPE_CHECKING:
    import torch

    from curate.correcting.work import Writer


def device_of(name: str) -> "torch.device":
    """The device that `auto`, `cpu` or `cuda` means here. Raises UsageError."""
    from curate.training.models import chosen_device

    found = chosen_device("auto" if name == "cuda" else name)
    if name == "cuda" and found.type != "cuda":
        raise UsageError("--device cuda, but torch sees no CUDA device", do="use --device auto")
    return found


def local_writer(folder: Path, device: "torch.device", max_new_tokens: int, tokens_per_batch: int) -> "Writer":
    """Load the Aligner; what it gives writes a line for each row, from the answer as the draft."""
    import torch

    from curate.training import aligner
    from curate.training.drafting import Written, positions_of, write
    from curate.training.tokens import token_rows
    from curate.training.writing import text_of

    made = aligner.load(str(folder), device)
    model: Any = made.model.to(torch.bfloat16) if device.type == "cuda" else made.model
    positions = positions_of(model)

    def written(rows: Sequence[Row]) -> Iterator[list[Line]]:
        targets = {str(row.number): made.template.target(row.answer) for row in rows}
        prompts = [made.template.prompt(row.question, row.answer) for row in rows]
        tokens = token_rows(made.tokenizer, list(targets), prompts, list(targets.values()))
        too_long = [row for row in tokens if len(row.ids) > positions or row.target_tokens > max_new_tokens]
        if too_long:
            yield [Line(int(row.row_id), note="too_long") for row in too_long]
        left = {row.row_id: row for row in tokens}
        for row in too_long:
            del left[row.row_id]
        for batch in write(model, list(left.values()), max_new_tokens, tokens_per_batch):
            yield [line(one, targets[one.row_id]) for one in batch]

    def line(one: Written, target: str) -> Line:
        number = int(one.row_id)
        if one.is_unchanged:
            return Line(number, passes=one.passes)
        text = made.template.written(text_of(made.tokenizer, one, target))
        return line_of(number, text, made.template.written(target), has_ended=one.has_ended, passes=one.passes)

    return written


def line_of(number: int, text: str, answer: str, *, has_ended: bool, passes: int) -> Line:
    """The line of a text that was written: one that is cut or empty is no correction."""
    if not has_ended:
        return Line(number, note="unfinished", passes=passes)
    if not text.strip():
        return Line(number, note="empty_correction", passes=passes)
    return Line(number, correction=None if text == answer else text, passes=passes)
