"""Jobs of several processes: MPI tasks of VASP (a stand-in), devices of one training."""

import shutil
import sys
import warnings

import pandas as pd
import pytest
import yaml

from tests.slurm.conftest import (
    MINI,
    ROOT,
    asked,
    failures,
    local,
    on_slurm,
    rules_of_jobs,
    run,
)
from tests.vasp_runs import FAKE_VASP, make_potcars

VASP = ROOT / "config" / "test" / "vasp.yaml"


def test_vasp_gets_its_mpi_tasks(cluster, tmp_path):
    """Every rank says who it is; the first one is the stand-in for VASP."""
    make_potcars(tmp_path / "licensed")
    program = tmp_path / "vasp_std"
    lines = [
        "#!/bin/sh",
        f'echo "$SLURM_PROCID of $SLURM_NTASKS" > {tmp_path}/rank-$SLURM_PROCID',
        '[ "$SLURM_PROCID" = 0 ] || exit 0',
        f"PYTHONPATH={ROOT / 'workflow'} exec {sys.executable} {FAKE_VASP}",
    ]
    program.write_text("\n".join(lines) + "\n")
    program.chmod(0o755)
    raw = yaml.safe_load(VASP.read_text())
    raw["engines"]["vasp"] |= {
        "potcar_folder": str(tmp_path / "licensed"), "command": f"srun {program}", "tasks": 2,
    }  # fmt: skip
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(raw))
    target = "results/dft/oxides/0000.parquet"
    text = run(on_slurm(tmp_path, "--", target, config=config)).stderr
    (job,) = [job for job, rule in rules_of_jobs(text).items() if rule == "dft_run"]
    assert asked(job)["NumTasks"] == "2"
    ranks = {path.read_text().strip() for path in tmp_path.glob("rank-*")}
    assert ranks == {"0 of 2", "1 of 2"}
    assert pd.read_parquet(tmp_path / target)["status"].tolist() == ["ok"]


def test_a_training_on_two_devices(cluster, computed, tmp_path):
    raw = yaml.safe_load(MINI.read_text())
    raw["models"]["cnn"]["optimiser"]["devices"] = 2
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(raw))
    here = tmp_path / "here"
    shutil.copytree(computed, here, copy_function=shutil.copy2)
    target = "results/predictions/tiny/r3dvs/band_gap_ev/0-0.parquet"
    text = run(on_slurm(computed, "--", target, config=config)).stderr
    jobs = [job for job, rule in rules_of_jobs(text).items() if rule == "model_train"]
    assert {asked(job)["TresPerNode"] for job in jobs} == {"gres:gpu:2"}
    if len(jobs) > 1:  # an overloaded machine loses a step's socket; the profile tries again
        warnings.warn(f"submitted {len(jobs)} times:\n{failures(text)}", stacklevel=1)
    run(local(here, "--", target, config=config))
    shared = pd.read_parquet(computed / target)
    assert (computed / target).read_bytes() == (here / target).read_bytes()
    run(local(here, "--", target))
    alone = pd.read_parquet(here / target)
    assert shared["y_pred"].tolist() == pytest.approx(alone["y_pred"].tolist(), rel=1e-4)
