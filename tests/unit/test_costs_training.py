"""Expected costs of trainings and of light rules, and tables of what was measured."""

import math
from pathlib import Path

import pandas as pd
import pytest
import torch

from rhoflow import io, tables
from rhoflow.costs import fits, light, training
from rhoflow.costs import table as cost_table
from rhoflow.costs.resources import LEAST_MINUTES, MOST_MINUTES
from rhoflow.descriptors.image import ImageSpec
from rhoflow.descriptors.r3dvs import R3DVSSpec
from rhoflow.descriptors.r3dvs_power import R3DVSPowerSpec
from rhoflow.descriptors.soap import SOAPSpec
from rhoflow.models.cnn3d import fit as cnn3d
from rhoflow.models.cnn3d.model import VoxelCNN
from rhoflow.models.cnn3d.spec import CNN3DSpec
from rhoflow.models.krr import fit as krr

PAPER = CNN3DSpec(channels=(16, 32, 64), dense=(128,))
VOXELS = R3DVSSpec()


FORMS = [
    (PAPER, VOXELS),
    (PAPER, R3DVSSpec(length_angstrom=6.8)),
    (PAPER, R3DVSSpec(half=True)),
    (PAPER, ImageSpec(edge=18)),
    (PAPER.model_copy(update={"block": "multi_scale"}), ImageSpec(edge=18)),
    (PAPER.model_copy(update={"attention": "channel", "kernel_size": 5}), ImageSpec(edge=16)),
    (PAPER.model_copy(update={"padding": "circular", "pooling": "mean"}), ImageSpec()),
    (
        PAPER.model_copy(
            update={"block": "multi_scale", "attention": "both", "padding": "circular"}
        ),
        ImageSpec(channels=("density", "potential"), edge=16),
    ),
]


@pytest.mark.parametrize(("model", "voxels"), FORMS)
def test_operations_of_a_network_are_torchs_own(model, voxels):
    from torch.utils.flop_counter import FlopCounterMode

    channels = len(voxels.channels)
    network = VoxelCNN(model, voxels.grid_shape, n_channels=channels, n_outputs=6)
    inputs = torch.zeros(2, channels, *voxels.grid_shape)
    with FlopCounterMode(display=False) as forward:
        network(inputs)
    with FlopCounterMode(display=False) as both:
        network(inputs).sum().backward()
    counted, backward, numbers = fits.network(model, voxels, 6)
    assert 2 * counted == forward.get_total_flops()
    assert 2 * (counted + backward) == both.get_total_flops()
    parameters = sum(p.numel() for p in network.parameters())
    biases = sum(model.dense) + 6  # of dense layers, which are left out
    assert numbers["weights"] == parameters - biases


def test_numbers_kept_are_those_that_autograd_saves():
    """What the backward pass needs of the convolutional part, each tensor counted once."""
    for model, voxels in FORMS[3:]:
        channels = len(voxels.channels)
        network = VoxelCNN(model, voxels.grid_shape, n_channels=channels).features
        own = {p.data_ptr() for p in network.parameters()}
        saved: dict[int, int] = {}

        def keep(tensor, own=own, saved=saved):
            if tensor.data_ptr() not in own:
                size = tensor.untyped_storage().nbytes() // 4
                saved[tensor.untyped_storage().data_ptr()] = size
            return tensor

        inputs = torch.rand(1, channels, *voxels.grid_shape)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            result = network(inputs)
        total = sum(saved.values()) - inputs.numel()
        assert result.requires_grad
        assert fits.network(model, voxels, 6)[2]["kept"] == pytest.approx(total, rel=0.25), model


def test_what_fits_try_is_known():
    assert len(krr.WIDTHS) == fits.TRIED_WIDTHS
    assert len(krr.RIDGES) == fits.TRIED_RIDGES
    assert cnn3d.PREDICT_BATCH == fits.PREDICT_BATCH


def test_lengths_of_vectors():
    assert fits.vector_length(SOAPSpec()) == 14560
    assert fits.vector_length(SOAPSpec(delta=0.3)) == pytest.approx(65212, rel=0.15)
    two = SOAPSpec(similarity="identity", elements=("O", "Mg"), n_max=2, l_max=1)
    assert fits.vector_length(two) == 20
    assert fits.vector_length(R3DVSPowerSpec()) == 46
    assert fits.spots_of(VOXELS, 92) == pytest.approx(373, rel=0.02)


def spec_of(model, descriptor, *, first=None, folds=0, **protocol):
    arm = {"descriptor": descriptor, "model": model, "first": first, "residual_folds": folds}
    return {
        "arm": arm,
        "targets": ["band_gap_ev"],
        "protocol": {"kind": "learning_curve", "train_sizes": [100], **protocol},
    }


CNN = {"kind": "cnn3d"}
SPOTS = {"kind": "r3dvs", "length_angstrom": 6.4}
SOAP = {"kind": "soap"}


def test_images_are_made_of_their_coefficients():
    """A cell holds what is stored, up to its Nyquist frequency; a box the sphere that it shows."""
    box = ImageSpec(frame="box")
    assert fits.spots_of(box, 92) == pytest.approx(fits.spots_of(VOXELS, 92), rel=1e-6)
    assert fits.spots_of(ImageSpec(), 92) == pytest.approx(1340, rel=0.01)
    assert fits.spots_of(ImageSpec(edge=8), 92) == 256
    work = [
        training.training_work(spec_of(CNN, {"kind": "density_image", "frame": frame}), "0-0")
        for frame in ("cell", "box")
    ]
    assert 1 < work[1].flop / work[0].flop < 1.2
    asked = training.training_resources(
        spec_of(CNN, {"kind": "density_image"}), "0-0", n_structures=680
    )
    assert 490 < asked.memory_mb < 2000


def test_trainings_multiply():
    base = training.training_work(spec_of(CNN, SPOTS, seeds=1, test_size=1), "0-0")
    redraws = training.training_work(spec_of(CNN, SPOTS, seeds=1, test_size=1), "3-6")
    assert redraws.flop == pytest.approx(4 * base.flop)
    sizes = spec_of(CNN, SPOTS, seeds=1, test_size=1, train_sizes=[100, 300])
    assert training.training_work(sizes, "0-0").flop == pytest.approx(4 * base.flop, rel=0.01)
    seeds = training.training_work(spec_of(CNN, SPOTS, seeds=5, test_size=1), "0-0")
    assert 4 < seeds.flop / base.flop < 5  # spots are deposited once for all seeds
    assert seeds.steps == base.steps
    shown = training.training_work(
        spec_of({**CNN, "shown": 60}, SPOTS, seeds=1, test_size=1), "0-0"
    )
    assert shown.flop == pytest.approx(2 * base.flop, rel=0.01)


def test_kernel_ridge_grows_with_the_cube_and_folds_add():
    sizes = [1000, 2000]
    tuned = {"kind": "krr", "kernel": "gaussian", "tuned": True}
    flop = [
        training.training_work(spec_of(tuned, {"kind": "coulomb"}, train_sizes=[n]), "0-0").flop
        for n in sizes
    ]
    assert 7 < flop[1] / flop[0] < 8
    plain = [
        training.training_work(spec_of({"kind": "krr"}, SOAP, train_sizes=[n]), "0-0").flop
        for n in sizes
    ]
    assert 3.5 < plain[1] / plain[0] < 4.5  # the kernel itself is most of it
    first = {"descriptor": SOAP, "model": {"kind": "krr"}}
    stack = training.training_work(spec_of(CNN, SPOTS, first=first), "0-0")
    folds = training.training_work(spec_of(CNN, SPOTS, first=first, folds=10), "0-0")
    assert folds.flop > stack.flop > training.training_work(spec_of(CNN, SPOTS), "0-0").flop


def test_classifications_train_a_network_for_each_number_of_replicas():
    protocol = {"kind": "classification", "classes": 20, "replicas": [1, 30]}
    spec = {"arm": {"descriptor": SPOTS, "model": CNN}, "protocol": protocol}
    same = training.training_work(spec, "0-0").flop
    protocol["same_steps"] = False
    fewer = training.training_work(spec, "0-0").flop
    assert fewer == pytest.approx(same * 31 / 60, rel=0.02)


def test_a_measured_training():
    """The quick study's voxel arm, two redraws: 50 s of processor time at least, 547 MB."""
    model = {**CNN, "channels": [8, 16, 32], "dense": [64], "replicas": 10}
    spec = spec_of({**model, "optimiser": {"epochs": 20}}, SPOTS, seeds=2, test_size=10)
    spec["protocol"]["train_sizes"] = [10, 20, 40]
    spec["targets"] = ["band_gap_ev"] * 6
    assert 45 < training.expected_s(training.training_work(spec, "0-1")) < 75
    asked = training.training_resources(spec, "0-1", n_structures=84)
    assert 547 < asked.memory_mb < 1000
    assert asked.minutes == LEAST_MINUTES
    assert asked.device_memory_mb == 0


def test_a_gpu_is_asked_for_its_memory_and_less_time():
    spec = spec_of(CNN, {"kind": "r3dvs"}, train_sizes=[600])
    core = training.training_resources(spec, "0-1", n_structures=680)
    gpu = training.training_resources(spec, "0-1", n_structures=680, gpu=True)
    assert gpu.minutes < core.minutes == MOST_MINUTES
    assert gpu.device_memory_mb > 2000
    again = training.training_resources(spec, "0-1", n_structures=680, gpu=True, attempt=2)
    assert again.minutes > gpu.minutes
    ridge = spec_of({"kind": "krr"}, SOAP)
    assert training.training_resources(ridge, "0-1", n_structures=680, gpu=True)[2] == 0
    mean = training.training_resources(spec_of({"kind": "mean"}, SOAP), "0-1", n_structures=2)
    assert mean.minutes == LEAST_MINUTES


def test_several_devices_share_the_time_of_one_training():
    spec = spec_of(CNN, {"kind": "r3dvs"}, train_sizes=[600])
    one = training.training_resources(spec, "0-1", n_structures=680, gpu=True)
    spec["arm"]["model"] = {**CNN, "optimiser": {"devices": 4}}
    four = training.training_resources(spec, "0-1", n_structures=680, gpu=True)
    assert one.minutes / 4 < four.minutes < one.minutes
    assert four.memory_mb > 2 * one.memory_mb  # a process each


# light rules -----------------------------------------------------------------------------


def test_light_rules_grow_with_input_and_attempt():
    for rule in light.RULES:
        least = light.light_resources(rule, 0)
        assert least.memory_mb >= 200
        assert light.light_resources(rule, 500).memory_mb > least.memory_mb
        assert light.light_resources(rule, 500).minutes >= least.minutes >= LEAST_MINUTES
        assert light.light_resources(rule, 0, attempt=2).memory_mb > least.memory_mb
    unknown = light.light_resources("something_new", 10)
    assert unknown.memory_mb >= max(light.light_resources(r, 10).memory_mb for r in light.RULES)
    assert light.light_resources("soap_shard", math.nan) == light.light_resources("soap_shard", 0)


# tables ----------------------------------------------------------------------------------

BENCHMARK = (
    "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"
    "{wall}\t0:00:04\t{mb}\t1\t1\t1\t1\t1\t1\t{core}\n"
)


def measured(folder: Path, name: str, wall=4.0, mb=150, core=3.0) -> None:
    path = folder / "benchmarks" / f"{name}.tsv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(BENCHMARK.format(wall=wall, mb=mb, core=core))


@pytest.fixture
def results(tmp_path):
    """Two shards of two and one structures, a training of two sizes and two redraws, a figure."""
    for shard, n in (("0000", 2), ("0001", 1)):
        ids = [f"{shard}-{i}" for i in range(n)]
        cost = pd.DataFrame(
            {"material_id": ids, "cpu_time_s": 36.0, "wall_time_s": 40.0, "peak_memory_mb": 300.0}
        )
        records = {name: [None] * n for name in tables.DFT_RECORDS.names}
        records |= {"material_id": ids, "status": ["ok"] * n, "engine": ["gpaw"] * n}
        place = tmp_path / "dft" / "oxides"
        io.write_table(place / f"{shard}.cost.parquet", cost, tables.DFT_COST)
        io.write_table(place / f"{shard}.parquet", pd.DataFrame(records), tables.DFT_RECORDS)
        measured(tmp_path, f"soap_shard/soap/oxides/{shard}")
    measured(tmp_path, "figure_parity/r3dvs", core=5)
    measured(tmp_path, "model_train/r3dvs/a/together/0-1", core=40)
    spec = spec_of({"kind": "krr"}, SOAP, train_sizes=[10, 20])
    path = tmp_path / "predictions" / "r3dvs" / "a" / "together" / "0-1.parquet"
    io.write_table(path, tables.empty(tables.PREDICTIONS), tables.PREDICTIONS, spec=spec)
    return tmp_path


def test_a_table_of_a_small_run(results):
    found = cost_table.table(results, sizes=(100,)).set_index("item")
    calculation = found.loc["calculation, gpaw"]
    assert (calculation["n_measured"], calculation["core_s"]) == (3, 36)
    assert calculation["core_h_100"] == pytest.approx(1.0)
    assert found.loc["soap_shard soap", "core_s"] == pytest.approx(2.0)
    training_row = found.loc["model_train krr"]
    assert (training_row["n_measured"], training_row["core_s"]) == (4, 10)
    assert pd.isna(training_row["core_h_100"])
    assert found.loc["figure_parity", "core_s"] == 5
    disk = found.loc["disk: dft, full spectra and records"]
    assert disk["disk_gb_100"] == pytest.approx(100 * disk["disk_mb"] / 1024)
    text = cost_table.as_markdown(found.reset_index())
    assert text.count("\n") == len(found) + 2
    assert "nan" not in text


def test_damaged_files_are_left_out(results, caplog):
    (results / "dft" / "oxides" / "0000.cost.parquet").write_bytes(b"PAR1 broken")
    (results / "benchmarks" / "figure_parity" / "r3dvs.tsv").write_text("s\n")
    (results / "benchmarks" / "soap_shard" / "soap" / "oxides" / "0001.tsv").write_text(
        BENCHMARK.format(wall="NA", mb="NA", core="NA")
    )
    (results / "predictions" / "r3dvs" / "a" / "together" / "0-1.parquet").unlink()
    found = cost_table.table(results).set_index("item")
    assert found.loc["calculation, gpaw", "n_measured"] == 1
    assert "figure_parity" not in found.index
    assert found.loc["soap_shard soap", "core_s"] == 3.0
    assert "model_train krr" not in found.index
    assert "left out" in caplog.text


def test_a_table_of_nothing(tmp_path):
    assert cost_table.table(tmp_path / "absent").empty
    assert cost_table.as_markdown(cost_table.table(tmp_path)).count("\n") == 2


def test_kernels_of_all_structures_grow_with_square_and_cube():
    found = cost_table.kernel_table([1000, 2000], length=100).set_index("n")
    ratio = found.loc[2000] / found.loc[1000]
    assert ratio.round(6).to_dict() == {
        "kernel_core_h": 4,
        "solution_core_h": 8,
        "tuning_core_h": 8,
        "memory_gb": 4,
    }
