"""One of several processes that train together, as torchrun starts it: `-m curate.training.worker JOB_FOLDER`.

The first one tells on stdout how far the training is, a JSON string a line. One that fails leaves `error.json`.
"""

import ctypes
import json
import os
import signal
import sys
from pathlib import Path

import torch

from curate.store.atomic import replacing
from curate.training import job, models
from curate.training.ranks import joined, own_device
from curate.training.sharding import sharded
from schemas.errors import CurateError

ERROR = "error.json"


def main(folder: Path) -> int:
    """Do the job in the folder. 0, or 1 where it failed."""
    die_with_parent()
    try:
        work(folder)
    except CurateError as error:
        with replacing(folder / ERROR) as scratch:
            scratch.write_text(json.dumps({"what": error.what, "do": error.do}), encoding="utf-8")
        return 1
    return 0


def work(folder: Path) -> None:
    """Join the others, take this process's part of the model, and train."""
    made = job.read(folder)
    device = own_device(models.chosen_device(made.settings.device))
    if device.type == "cpu":
        torch.set_num_threads(1)
    ranks = joined(device)
    base = made.settings.base or str(folder / job.START)
    tokenizer = models.load_tokenizer(base)
    whole = models.load(base, torch.device("cpu"))[0] if ranks.is_first else None
    model = sharded(whole, ranks, device, models.empty)
    del whole
    job.do(made, model, tokenizer, tell if ranks.is_first else lambda _: None, ranks)
    torch.distributed.destroy_process_group()


def tell(text: str) -> None:
    """To the process that waits for the training."""
    sys.stdout.write(json.dumps(text) + "\n")
    sys.stdout.flush()


def die_with_parent() -> None:
    """Let the kernel kill this process when its parent dies, even by -9: nobody else would stop it. Linux only."""
    if sys.platform == "linux":
        parent = os.getppid()
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
