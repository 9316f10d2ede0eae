"""Occupied orbitals of molecules in one file: coefficients of Gaussians, one after the other."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rhoflow import io
from rhoflow.errors import DataError

_FIELDS = ("material_id", "shapes", "coefficients")


def write_orbitals(
    path: str | Path,
    orbitals: Mapping[str, NDArray[np.float32]],
    *,
    spec: Mapping[str, Any] | None = None,
) -> None:
    """Write the orbitals of a shard.

    Args:
        path: an NPZ file.
        orbitals: by material id, (n_ao, n_occ) coefficients.
        spec: that of the engine, without which they mean nothing.
    """
    parts = [np.asarray(a, dtype=np.float32) for a in orbitals.values()]
    none = np.zeros(0, dtype=np.float32)
    io.write_arrays(
        path,
        {
            "material_id": np.asarray(list(orbitals), dtype=str),
            "shapes": np.array([p.shape for p in parts], dtype=np.int64).reshape(-1, 2),
            "coefficients": np.concatenate([none, *(p.ravel() for p in parts)]),
        },
        {"spec": dict(spec or {})},
    )


def read_orbitals(paths: Iterable[str | Path]) -> dict[str, NDArray[np.float32]]:
    """Read the shards of orbitals; (n_ao, n_occ) coefficients by material id.

    Raises:
        DataError: a shard is unreadable, holds no orbitals, or was made with another spec.
    """
    found: dict[str, NDArray[np.float32]] = {}
    specs: list[Any] = []
    names = list(paths)
    for path in names:
        arrays, meta = io.read_arrays(path)
        missing = [name for name in _FIELDS if name not in arrays]
        if missing:
            raise DataError(f"{path}: lacks {missing}; it holds no orbitals: delete and remake it")
        specs.append(meta.get("spec"))
        if specs[-1] != specs[0]:
            raise DataError(
                f"{path} was made with other settings than {names[0]}: {specs[-1]} against "
                f"{specs[0]}. Delete the older file and run snakemake again"
            )
        sizes = arrays["shapes"].prod(axis=1)
        parts = np.split(arrays["coefficients"], np.cumsum(sizes)[:-1])
        rows = zip(arrays["material_id"], arrays["shapes"], parts, strict=False)
        found |= {str(name): part.reshape(shape) for name, shape, part in rows}
    return found
