"""One of several processes that train together, as torchrun starts it: `-m curate.training.worker JOB_FOLDER`.

The first one tells on stdout how far the training is, a JSON string a line, and what must be seen as `{"note": …}`.
One that fails leaves `error-RANK.json`.
"""

import json
import os
import sys
from pathlib import Path

from curate.training.parent import die_with_parent

ERRORS = "error-{}.json"
"""By rank."""


def main(folder: Path) -> int:
    """Do the job in the folder. 0, or 1 where it failed."""
    from curate.store.atomic import replacing
    from schemas.errors import CurateError

    try:
        work(folder)
    except (CurateError, OSError) as error:
        told = {"what": error.what, "do": error.do} if isinstance(error, CurateError) else {"what": f"train: {error}"}
        with replacing(folder / ERRORS.format(os.environ["RANK"])) as scratch:
            scratch.write_text(json.dumps(told), encoding="utf-8")
        return 1
    return 0


def work(folder: Path) -> None:
    """Join the others, take this process's part of the model, and train."""
    import torch

    from curate.training import job, models
    from curate.training.memory import enough_memory
    from curate.training.ranks import joined, own_device
    from curate.training.sharding import sharded

    made = job.read(folder)
    device = own_device(models.chosen_device(made.settings.device))
    if device.type == "cpu":
        torch.set_num_threads(1)
    ranks = joined(device)
    base = made.settings.base or str(folder / job.START)
    tokenizer = models.load_tokenizer(base)
    adapted = models.adapting(made.settings)
    whole = adapted(models.load(base, torch.device("cpu"))[0]) if ranks.is_first else None
    with enough_memory("this process's part of the weights in float32"):
        model = sharded(whole, ranks, device, lambda config: adapted(models.empty(config)))
    del whole
    voice = job.Voice(tell, lambda text: tell({"note": text})) if ranks.is_first else job.Voice(_hush, _hush)
    job.do(made, model, tokenizer, voice, ranks)
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def tell(what: str | dict[str, str]) -> None:
    """To the process that waits for the training: how far it is, or a note."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def _hush(_: str) -> None:
    pass


if __name__ == "__main__":
    die_with_parent()
    code = main(Path(sys.argv[1]))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # gloo's threads may still run, and an orderly end beside them can abort
