"""One training on several devices: processes on this machine's processor that talk through gloo.

The trainings themselves are in ``tests/distributed_cases.py``: two processes work through all of
them, three through some, and this one does each alone.
"""

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.distributed_cases import CASES, EPOCHS, line

from rhoflow import processes
from rhoflow.errors import ConfigError, TrainingError
from rhoflow.models.base import devices
from rhoflow.models.cnn3d.spec import CNN3DSpec
from rhoflow.models.krr.spec import KRRSpec
from rhoflow.models.mlp.spec import MLPSpec
from rhoflow.training import distributed
from rhoflow.training.distributed import ALONE, Group, Place, place
from rhoflow.training.spec import OptimiserSpec

ROOT = Path(__file__).parents[2]

Rank = dict[str, np.ndarray]


def together(folder: Path, n: int, *cases: str) -> list[Rank]:
    """What each of n processes found in some cases, or in all."""
    environment = {**processes.environment(), "GLOO_SOCKET_IFNAME": "lo"}
    started = []
    for rank in range(n):
        where = {"RANK": rank, "WORLD_SIZE": n, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": n}
        started.append(
            subprocess.Popen(
                [sys.executable, "-m", "tests.distributed_cases", str(folder), *cases],
                cwd=ROOT,
                env={**environment, **{key: str(value) for key, value in where.items()}},
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    try:
        for process in started:
            _, said = process.communicate(timeout=120)
            assert process.returncode == 0, said
    finally:
        for process in started:
            process.kill()
    ranks = []
    for rank in range(n):
        with np.load(folder / f"{rank}.npz", allow_pickle=False) as file:
            ranks.append({name: file[name] for name in file.files})
    return ranks


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> list[Rank]:
    return together(tmp_path_factory.mktemp("pair"), 2)


def of_case(rank: Rank, case: str) -> Rank:
    found = {n.split("/", 1)[1]: a for n, a in rank.items() if n.split("/", 1)[0] == case}
    assert found, case
    return found


def alone(case: str) -> Rank:
    torch.set_num_threads(1)
    return CASES[case](1)


# Shares ------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [2, 3, 7])
@pytest.mark.parametrize("n", [1, 2, 3, 10, 64])
def test_shares_divide_a_batch(size, n):
    """Each sample counts once, shares differ by one sample at most, none is without a sample."""
    shares = [Group(rank, size).share(n) for rank in range(size)]
    counted = [list(range(n)[s.rows]) for s in shares if s.weight]
    assert [i for rows in counted for i in rows] == list(range(n))
    assert sum(s.weight for s in shares) == pytest.approx(1, abs=1e-12)
    for share in shares:
        assert len(range(n)[share.rows]) == max(1, round(share.weight * n))
    assert max(s.weight for s in shares) - min(s.weight for s in shares) < 1 / n + 1e-12


def test_a_process_alone_has_the_whole_batch():
    share = ALONE.share(7)
    assert (share.rows, share.weight) == (slice(0, 7), 1.0)


def test_a_process_alone_is_not_wrapped():
    model = torch.nn.Linear(1, 1)
    assert ALONE.wrap(model) is model


# The same training -------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["equal", "unequal", "one sample"])
def test_the_gradient_is_that_of_the_mean_over_the_global_batch(pair, case):
    """2/n Xᵀ(Xw - y), worked out by hand, on every process."""
    n = {"equal": 4, "unequal": 5, "one sample": 1}[case]
    x, y, model = line(n)
    w = model.weight.detach().double().numpy()  # (1, 3)
    x, y = x.double().numpy(), y.double().numpy()
    wanted = 2 / n * (x @ w.T - y).T @ x
    for rank in pair:
        found = of_case(rank, f"gradient, {case}")["gradient"]
        np.testing.assert_allclose(found, wanted, rtol=2e-6, atol=1e-7)


@pytest.mark.parametrize(
    "case",
    [
        "cnn3d, last batch of 3",
        "cnn3d, last batch of 1",
        "cnn3d, one seed",
        "mlp, last batch of 1",
        "mlp, one batch",
        "qdf, last batch of 1",
        "qdf, all switches",
        "gcn, last batch of 1",
        "graph, last batch of 1",
    ],
)
def test_two_processes_train_as_one_at_equal_global_batch(pair, case):
    """Loss of every epoch, weights, the optimiser's moments, predictions; state names alike."""
    one, first, second = alone(case), of_case(pair[0], case), of_case(pair[1], case)
    assert set(first) == set(one)
    assert set(second) == {"predicted"}  # the first process alone saves a state
    assert one["history"].shape == (EPOCHS,)
    np.testing.assert_allclose(first["history"], one["history"], rtol=1e-6)
    for name in one:
        scale = np.abs(one[name]).max()
        np.testing.assert_allclose(first[name], one[name], rtol=1e-5, atol=1e-6 * scale)
    np.testing.assert_allclose(second["predicted"], one["predicted"], rtol=1e-5)


def test_one_device_in_a_job_of_several_trains_to_the_same_bytes(pair):
    """The first model of a stack, say, which every process fits for itself."""
    case = "mlp, one device"
    one = alone(case)
    for name, value in of_case(pair[0], case).items():
        assert np.array_equal(value, one[name]), name
    assert np.array_equal(of_case(pair[1], case)["predicted"], one["predicted"])


def test_every_process_drops_out_other_units(pair):
    first, second = (of_case(rank, "masks")["masks"] for rank in pair)
    one = alone("masks")["masks"]
    assert first.shape == second.shape == one.shape == (EPOCHS, 1, 40)
    assert np.array_equal(first, one)
    assert not (first == second).all(axis=(1, 2)).any()
    assert np.isfinite(of_case(pair[0], "mlp, dropout")["history"]).all()


# States and errors -------------------------------------------------------------------------


def same(rank: Rank, case: str, other: str) -> bool:
    one, two = of_case(rank, case), of_case(rank, other)
    return set(one) == set(two) and all(np.array_equal(one[n], two[n]) for n in one)


def test_an_interrupted_training_of_two_ends_with_the_same_bytes(pair):
    for rank in pair:
        assert same(rank, "undisturbed", "resumed")
    weights = [of_case(rank, "undisturbed")["0.weight"] for rank in pair]
    assert np.array_equal(*weights)


def test_an_interrupted_training_of_three_ends_with_the_same_bytes(tmp_path):
    """From three on the order counts in which gradients are added."""
    for rank in together(tmp_path, 3, "undisturbed", "resumed"):
        assert same(rank, "undisturbed", "resumed")


def test_a_state_comes_from_the_first_process(pair):
    wanted = alone("from first")
    for rank in pair:
        found = of_case(rank, "from first")
        assert set(found) == set(wanted) == {"ä.0", "none", "one"}
        for name, value in wanted.items():
            assert np.array_equal(found[name], value)
            assert found[name].dtype == value.dtype


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("diverges", "TrainingError: a training diverged in epoch 1 of 6: its loss is inf"),
        ("unshared", "TrainingError: the processes of a group worked through parts of batches"),
        ("another number", "ConfigError: optimiser.devices is 3, but the job of this training has"),
    ],
)
def test_an_error_of_one_process_is_raised_on_all(pair, case, message):
    for rank in pair:
        assert str(of_case(rank, case)["message"]).startswith(message)


# Places ------------------------------------------------------------------------------------


def test_torchrun_or_srun_says_which_process_this_is():
    torchrun = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}
    srun = {"SLURM_PROCID": "1", "SLURM_NTASKS": "2", "SLURM_LOCALID": "1"}
    assert place({}) == Place(0, 1, 0, 1)
    assert place(torchrun) == place({**torchrun, **srun}) == Place(5, 8, 1, 4)
    assert place(srun) == Place(1, 2, 1, 2)


@pytest.mark.parametrize(
    "said",
    [
        {"RANK": "1"},
        {"RANK": "2", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2"},
        {"SLURM_PROCID": "0", "SLURM_NTASKS": "two", "SLURM_LOCALID": "0"},
        {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "-1", "LOCAL_WORLD_SIZE": "2"},
    ],
)
def test_numbers_that_contradict_each_other_are_refused(said):
    with pytest.raises(ConfigError, match=r"got .*expected the number of the process"):
        place(said)


@pytest.fixture
def as_one_of_two(monkeypatch):
    where = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}
    for name, value in where.items():
        monkeypatch.setenv(name, value)


def test_more_devices_than_gpus_are_refused(monkeypatch, as_one_of_two, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    message = r"got 2, but this machine shows 1 GPU.*expected at most 1.*lower optimiser.devices"
    with pytest.raises(ConfigError, match=message), distributed.joined(tmp_path / "meeting"):
        pass


def test_each_process_takes_the_gpu_of_its_number(monkeypatch):
    taken = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    assert distributed._take_device(Place(5, 8, 1, 4)) == "cpu:gloo,cuda:nccl"
    assert taken == [1]


def test_processes_need_a_place_to_meet(monkeypatch, as_one_of_two):
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(ConfigError, match="MASTER_ADDR is not set"), distributed.joined():
        pass


def test_processes_that_do_not_come_are_not_waited_for_without_end(
    monkeypatch, as_one_of_two, tmp_path
):
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    monkeypatch.setattr(distributed, "TIMEOUT", timedelta(seconds=0.6))
    message = r"process 2 of 2 did not meet the others .* within 0\.01 min .*Run the job again"
    with pytest.raises(TrainingError, match=message), distributed.joined(tmp_path / "meeting"):
        pass


def test_a_process_alone_joins_nothing(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("SLURM_PROCID", raising=False)
    with distributed.joined() as group:
        assert group == ALONE
        assert distributed.world_size() == 1


def test_a_dead_process_is_told_from_an_error_of_ones_own():
    gone = RuntimeError("[third_party/gloo/gloo/transport/tcp/pair.cc:553] Connection closed")
    assert distributed.lost_another(gone)
    assert distributed.lost_another(torch.distributed.DistBackendError("timeout"))
    assert not distributed.lost_another(RuntimeError("shapes do not match"))
    assert not distributed.lost_another(ValueError("a file called gloo"))


# How many ----------------------------------------------------------------------------------


def network(n: int) -> CNN3DSpec:
    return CNN3DSpec(optimiser=OptimiserSpec(devices=n))


def test_a_job_has_the_devices_of_its_models():
    dense = MLPSpec(optimiser=OptimiserSpec(devices=4))
    assert devices() == devices(KRRSpec()) == devices(KRRSpec(), network(1)) == 1
    assert devices(KRRSpec(), network(4)) == devices(dense, network(4)) == 4
    with pytest.raises(ConfigError, match="ask for 2 and 4 devices"):
        devices(dense, network(2))
    with pytest.raises(ConfigError, match="ask for 1 and 2 devices"):
        devices(MLPSpec(), network(2))


def test_a_training_that_finds_itself_alone_says_so(caplog):
    assert distributed.group(2) == ALONE
    assert "optimiser.devices is 2, but this process trains alone" in caplog.text
