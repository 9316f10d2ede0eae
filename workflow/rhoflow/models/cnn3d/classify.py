"""The network as a classifier of materials, trained on rotated replicas alone."""

import numpy as np
import torch

from rhoflow.descriptors.r3dvs import R3DVSSpec, SpotSet
from rhoflow.descriptors.voxels import random_rotations
from rhoflow.evaluation.classification import Answers
from rhoflow.models.base import Start
from rhoflow.models.cnn3d.fit import train_networks
from rhoflow.models.cnn3d.spec import CNN3DSpec
from rhoflow.training.losses import sum_of_cross_entropies


def classify(
    spec: CNN3DSpec, voxels: R3DVSSpec, inputs: SpotSet, start: Start, *, poses: int = 0
) -> Answers:
    """Train one network to tell n materials apart, and show it the unrotated originals.

    Args:
        spec: network and training.
        voxels: how spots become voxels.
        inputs: the n materials; each is a class.
        start: seed of the network, and where its training keeps its state.
        poses: new random rotations of each material whose features are returned; 0: none.
    """
    classes = torch.arange(len(inputs))
    networks = train_networks(
        spec,
        voxels,
        inputs,
        classes,
        sum_of_cross_entropies,
        n_outputs=len(inputs),
        seeds=start.seeds[:1],
        checkpoint=start.checkpoint((spec, voxels), inputs, classes.numpy().astype(np.float64)),
    )
    logits = networks.answers(inputs, torch.eye(3)[None])[0, :, 0]  # (n, n)
    probability = torch.softmax(torch.from_numpy(logits), dim=1).numpy()
    features = None
    if poses:
        # The rotations of training come from other generators.
        rotations = random_rotations(poses, torch.Generator().manual_seed(start.seeds[0]))
        features = networks.features(inputs, rotations).astype(np.float32)
    return Answers(logits.argmax(axis=1), np.diag(probability).copy(), features)
