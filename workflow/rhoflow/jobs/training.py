"""What the rules that train do: read, train and predict, write."""

from collections.abc import Callable
from typing import Any, Literal

from pydantic import Field

from rhoflow import io, tables
from rhoflow.checkpoints import CheckpointStore
from rhoflow.descriptors.base import paired
from rhoflow.evaluation.classification import ClassificationSpec, classification
from rhoflow.evaluation.protocol import LearningCurveSpec, learning_curve, parse_range
from rhoflow.models.base import Start, devices
from rhoflow.models.registry import ArmTraining, PairSpec, classify, fit_arm
from rhoflow.properties import TARGETS
from rhoflow.spec import Spec

Finish = Callable[[], None]


class TrainingJob(Spec):
    """All that a training job knows, as plain data that another process can read."""

    task: Literal["model_train", "classify_train"] = Field(description="What is to be done.")
    input: dict[str, str | list[str]] = Field(description="Files that it reads, by their names.")
    output: dict[str, str] = Field(description="Files that it writes, by their names.")
    params: dict[str, Any] = Field(description="Specs of arm and protocol; stand in the outputs.")
    wildcards: dict[str, str] = Field(description="study, arm and redraws.")
    checkpoints: str = Field(description="Folder in which trainings keep their state.")
    threads: int = Field(default=1, ge=1, description="Cores of all its processes together.")

    @classmethod
    def of(cls, task: str, rule: Any) -> "TrainingJob":
        """A job from what a script is told of its rule: input, output, params and the rest."""
        return cls.model_validate(
            {
                "task": task,
                "input": dict(rule.input.items()),
                "output": dict(rule.output.items()),
                "params": rule.params.spec,
                "wildcards": dict(rule.wildcards.items()),
                "checkpoints": rule.params.checkpoints,
                "threads": rule.threads,
            }
        )

    def files(self, name: str) -> list[str]:
        """The files of an input that may have several."""
        found = self.input[name]
        return [found] if isinstance(found, str) else found

    @property
    def devices(self) -> int:
        """Devices that its trainings run on."""
        arm = ArmTraining.model_validate(self.params["arm"])
        return devices(arm.model, *([arm.first.model] if arm.first else []))


def run(job: TrainingJob) -> None:
    """Do a job in this process."""
    train(job)()


def train(job: TrainingJob) -> Finish:
    """Read, train and predict; what remains is to write the outputs and forget the checkpoints.

    Every process of a job on several devices trains; one of them finishes.
    """
    return {"model_train": _learning_curve, "classify_train": _classification}[job.task](job)


def _learning_curve(job: TrainingJob) -> Finish:
    arm = ArmTraining.model_validate(job.params["arm"])
    targets = io.read_targets(job.files("targets")[0])
    inputs = io.read_descriptors(job.files("descriptors"))
    if arm.first:
        inputs = paired(io.read_descriptors(job.files("first")), inputs)
    store = CheckpointStore(job.checkpoints)
    kept: list[Any] = []
    names = tuple(job.params["targets"])
    extensive = tuple(TARGETS[name].extensive for name in names)
    predictions = learning_curve(
        lambda x, y, seeds: fit_arm(arm, x, y, Start(seeds, store, extensive, names)),
        inputs,
        targets.set_index("material_id")[job.params["targets"]],
        io.read_table(job.files("splits")[0], tables.SPLITS),
        LearningCurveSpec.model_validate(job.params["protocol"]),
        redraws=parse_range(job.wildcards["redraws"]),
        keep=kept.append if "network" in job.output else None,
    )
    beside = job.params.get("beside", ())  # learned along, but not judged
    predictions = predictions[~predictions["target"].isin(beside)].reset_index(drop=True)
    predictions = predictions.assign(study=job.wildcards["study"], arm=job.wildcards["arm"])

    def finish() -> None:
        for network in kept:
            io.write_arrays(job.output["network"], network.arrays(), {"spec": job.params})
        path = job.output["predictions"]
        io.write_table(path, predictions, tables.PREDICTIONS, spec=job.params)
        store.clear()

    return finish


def _classification(job: TrainingJob) -> Finish:
    arm = PairSpec.model_validate(job.params["arm"])
    protocol = ClassificationSpec.model_validate(job.params["protocol"])
    store = CheckpointStore(job.checkpoints)
    predictions, features = classification(
        lambda inputs, replicas, seed, poses: classify(
            arm, protocol, inputs, replicas, Start((seed,), store), poses=poses
        ),
        io.read_descriptors(job.files("descriptors")),
        protocol,
        repeats=parse_range(job.wildcards["redraws"]),
    )
    predictions = predictions.assign(study=job.wildcards["study"], arm=job.wildcards["arm"])

    def finish() -> None:
        path = job.output["predictions"]
        io.write_table(path, predictions, tables.CLASSIFICATIONS, spec=job.params)
        io.write_arrays(job.output["features"], features, {"spec": job.params})
        store.clear()

    return finish
