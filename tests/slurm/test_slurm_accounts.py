"""A site with accounting, as most have: accounts are enforced, sacct remembers."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.slurm.cluster import Cluster, command, wait_for
from tests.slurm.conftest import needed, on_slurm, run

TARGET = "results/density/mini/0000.npz"


@pytest.fixture(scope="module")
def accounting(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A cluster with slurmdbd; the other one of this machine rests meanwhile."""
    needed(accounting=True)
    other: Cluster = request.getfixturevalue("cluster")
    other.stop()
    try:
        with Cluster(Path(tempfile.mkdtemp(prefix="slurm-")), accounting=True) as cluster:
            yield cluster
    finally:
        other.start()


@pytest.mark.parametrize("asks", ["squeue", "sacct"])
def test_it_runs_on_a_site_with_accounting(accounting, computed, undisturbed, asks):
    run(on_slurm(computed, "--slurm-status-command", asks, "--", TARGET))
    one, two = (folder / TARGET for folder in (computed, undisturbed))
    assert one.read_bytes() == two.read_bytes()
    # slurmdbd learns of a job's end some moments after squeue.
    wait_for("a complete account", lambda: set(states()) == {"COMPLETED"})


def states() -> list[str]:
    """The states of all jobs in the accounts."""
    return command("sacct", "-X", "-n", "-o", "state").split()


def test_an_account_that_does_not_exist_is_named(accounting, computed):
    wrong = ["--default-resources", "slurm_account=nobodys", "mem_mb=2000", "runtime=30"]
    failed = run(on_slurm(computed, *wrong, "--retries", "0", "--", TARGET), ok=False)
    assert "slurm_account: no account 'nobodys' of yours; valid are: physics" in failed.stderr
