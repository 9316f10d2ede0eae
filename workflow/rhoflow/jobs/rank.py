"""One process of a training on several devices: ``python -m rhoflow.jobs.rank FOLDER``.

The folder holds ``job.json``. This process leaves its log there, and a file that says why, if it
fails. The environment says which process it is: torchrun's variables, or srun's.
"""

import json
import os
import sys
import threading
import time
import traceback
from pathlib import Path

from rhoflow import io
from rhoflow.jobs.training import TrainingJob, train
from rhoflow.processes import exit_at_end_of_stdin
from rhoflow.training import distributed


def main(folder: Path) -> None:
    """Do this process's part of the job."""
    threading.Thread(target=exit_at_end_of_stdin, daemon=True).start()
    rank = distributed.place(os.environ).rank
    io.start_log(folder / f"log-{rank}.txt")
    job = TrainingJob.model_validate_json((folder / "job.json").read_text(encoding="utf-8"))
    try:
        with distributed.joined(folder / "meeting") as group:
            finish = train(job)
            # When all have come here, nobody can fail a job whose outputs are written.
            group.wait()
            if group.is_first:
                finish()
    except Exception as error:
        io.write_text(folder / f"error-{rank}.json", json.dumps(_record(error, rank)))
        # Not by the way of an orderly end, which would wait for processes that are gone.
        sys.stdout.flush()
        os._exit(1)


def _record(error: Exception, rank: int) -> dict[str, object]:
    return {
        "rank": rank,
        "time": time.time(),
        "kind": type(error).__name__,
        "message": str(error),
        "lost_another": distributed.lost_another(error),
        "traceback": traceback.format_exc(),
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
