"""What each of two processes finds out about a model in parts, written as JSON: `-m tests.curate.training.two_processes FOLDER`."""

import json
import sys
from pathlib import Path
from typing import Any

import torch

from curate.training import models
from curate.training.checkpoints import Checkpoints, Every
from curate.training.drafting import write
from curate.training.loop import accumulate, checkpoint_activations, held_out
from curate.training.packing import Step
from curate.training.ranks import joined
from curate.training.settings import settings
from curate.training.sharding import gathered, sharded, whole
from curate.training.templates import TEMPLATES
from schemas.errors import StageError
from tests.curate.training import tiny

CPU = torch.device("cpu")
ROWS = tiny.rows(32)
STEPS = {
    "2 x 16": [ROWS[:16], ROWS[16:]],
    "8 x 4": [ROWS[start : start + 4] for start in range(0, 32, 4)],
    "7, 13 and 12": [ROWS[:7], ROWS[7:20], ROWS[20:]],
    "1 x 32, the other process idle": [ROWS],
}
SETTINGS = settings("aligner-2b", TEMPLATES["T1"], 0.2, 1, "cpu", tokens_per_batch=128)


def gradients(model: Any, packs: list[Any], ranks: Any) -> tuple[float, dict[str, list[float]]]:
    model.zero_grad()
    loss = accumulate(model, Step(packs, epoch=1, is_last=True), CPU, ranks)
    return loss, {name: whole(one.grad).flatten().tolist() for name, one in model.named_parameters()}


def unpackable() -> Any:
    """A model that computes its attention by itself."""
    from transformers import GPTJConfig, GPTJForCausalLM

    return GPTJForCausalLM(GPTJConfig(vocab_size=tiny.VOCABULARY, n_embd=64, n_layer=1, n_head=4, rotary_dim=8))


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    ranks = joined(CPU)
    found: dict[str, Any] = {}
    for make in ("llama", "gemma"):
        one = tiny.model(make) if ranks.is_first else None
        model = sharded(one, ranks, CPU, models.empty).train()
        found[make] = {name: gradients(model, packs, ranks) for name, packs in STEPS.items()}
        checkpoint_activations(model, is_on=True)
        found[make]["activations twice"] = gradients(model, STEPS["2 x 16"], ranks)
        checkpoint_activations(model, is_on=False)
    found["layers"] = len(models.layers_of(model))
    try:
        sharded(unpackable() if ranks.is_first else None, ranks, CPU, models.empty)
    except StageError as error:
        found["refused"] = error.what
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    gradients(model, STEPS["8 x 4"], ranks)
    optimiser.step()
    found["held_out"] = held_out(model, ROWS, SETTINGS, ranks)
    found["written"] = [one.ids for batch in write(model.eval(), ROWS[:6], 12, 256) for one in batch]
    found["parts"] = [one.to_local().numel() for one in model.parameters()]
    checkpoints = Checkpoints(folder / "checkpoints", {}, Every(None, None, 1), ranks)
    checkpoints.save("correct", 1, model, optimiser, [])
    weights = gathered(model, ranks)
    if ranks.is_first:
        models.save(model, models.train_tokenizer(["a text"], 300), folder / "saved", weights)
    gradients(model, STEPS["8 x 4"], ranks)
    optimiser.step()
    after = {name: one.flatten().tolist() for name, one in gathered(model, ranks).items()}
    again = torch.optim.AdamW(model.parameters(), lr=1e-2)
    checkpoints.resume("correct", model, again)
    gradients(model, STEPS["8 x 4"], ranks)
    again.step()
    found["resumed exactly"] = after == {name: one.flatten().tolist() for name, one in gathered(model, ranks).items()}
    found["after"] = after
    (folder / f"{ranks.rank}.json").write_text(json.dumps(found))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
