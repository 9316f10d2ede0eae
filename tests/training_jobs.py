"""Small training jobs with their files."""

from pathlib import Path

import numpy as np
import pandas as pd

from rhoflow import io, tables
from rhoflow.descriptors.composition import CompositionSpec
from rhoflow.descriptors.r3dvs import R3DVSSpec, SpotSet
from rhoflow.evaluation.classification import ClassificationSpec
from rhoflow.evaluation.protocol import LearningCurveSpec
from rhoflow.evaluation.splits import draw
from rhoflow.jobs.training import TrainingJob
from rhoflow.models.cnn3d.spec import CNN3DSpec
from rhoflow.models.mlp.spec import MLPSpec
from rhoflow.training.spec import OptimiserSpec

IDS = tuple(f"m{i:02d}" for i in range(14))
PROTOCOL = LearningCurveSpec(train_sizes=(3, 9), test_size=4, redraws=1, seeds=2)
TARGETS = ["hartree_energy_ev_per_atom", "band_gap_ev"]


def learning_job(folder: Path, devices: int = 2, epochs: int = 200) -> TrainingJob:
    """A small dense network on random vectors; batches of 4 leave one sample of 9."""
    rng, inputs = np.random.default_rng(0), folder / "inputs"
    if not inputs.exists():
        values = rng.normal(size=(len(IDS), 3))
        y = pd.DataFrame({"material_id": IDS, **{t: rng.normal(size=len(IDS)) for t in TARGETS}})
        y = y.reindex(columns=tables.TARGET_TABLE.names)
        io.write_vectors(inputs / "vectors.parquet", IDS, list(values))
        io.write_table(inputs / "targets.parquet", y, tables.TARGET_TABLE)
        splits = draw(IDS, PROTOCOL, study="s")
        io.write_table(inputs / "splits.parquet", splits, tables.SPLITS)
    model = MLPSpec(
        hidden=(8,), optimiser=OptimiserSpec(epochs=epochs, batch_size=4, devices=devices)
    )
    arm = {"descriptor": CompositionSpec().model_dump(), "model": model.model_dump(mode="json")}
    return TrainingJob(
        task="model_train",
        input={
            "descriptors": [str(inputs / "vectors.parquet")],
            "targets": str(inputs / "targets.parquet"),
            "splits": str(inputs / "splits.parquet"),
        },
        output={"predictions": str(folder / f"predictions-{devices}.parquet")},
        params={
            "arm": {**arm, "first": None, "residual_folds": 0},
            "targets": TARGETS,
            "protocol": PROTOCOL.model_dump(mode="json"),
        },
        wildcards={"study": "s", "arm": "a", "redraws": "0-0"},
        checkpoints=str(folder / "training"),
    )


def classifying_job(folder: Path, devices: int) -> TrainingJob:
    rng, spots = np.random.default_rng(0), folder / "spots.npz"
    if not spots.exists():
        g = rng.normal(size=(60, 3)).astype(np.float32)
        amplitude = rng.uniform(size=(1, 60)).astype(np.float32)
        data = SpotSet(IDS[:6], np.arange(7) * 10, g, amplitude, np.full(6, 10.0))
        io.write_spots(spots, data)
    model = CNN3DSpec(
        channels=(2, 3),
        dense=(6,),
        optimiser=OptimiserSpec(epochs=3, batch_size=5, devices=devices),
    )
    protocol = ClassificationSpec(
        classes=4, replicas=(1, 2), repeats=1, feature_replicas=(2,), feature_poses=2
    )
    voxels = R3DVSSpec(length_angstrom=3.2, deposit="linear")
    arm = {"descriptor": voxels.model_dump(mode="json"), "model": model.model_dump(mode="json")}
    return TrainingJob(
        task="classify_train",
        input={"descriptors": [str(spots)]},
        output={n: str(folder / f"{n}-{devices}.npz") for n in ("predictions", "features")}
        | {"predictions": str(folder / f"predictions-{devices}.parquet")},
        params={"arm": arm, "protocol": protocol.model_dump(mode="json")},
        wildcards={"study": "s", "arm": "a", "redraws": "0-0"},
        checkpoints=str(folder / "training"),
    )
