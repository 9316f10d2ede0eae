"""Arrays: NPZ without pickled objects."""

import dataclasses
import json
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rhoflow.density.spectrum import Spectrum
from rhoflow.descriptors.fields import FieldSet
from rhoflow.descriptors.geometry import MoleculeSet
from rhoflow.descriptors.graph import GraphSet
from rhoflow.descriptors.image import ImageSet
from rhoflow.descriptors.r3dvs import SpotSet
from rhoflow.errors import DataError
from rhoflow.io.files import PathLike, metadata, refuse_mixed, replace, unreadable
from rhoflow.wells import WellSet

FIELD_UNITS = {"density": "e/Å³", "potential": "eV"}


def write_arrays(
    path: PathLike, arrays: Mapping[str, NDArray[Any]], meta: Mapping[str, Any] | None = None
) -> None:
    """Write named arrays and JSON-able metadata as compressed NPZ, without pickled objects."""
    content = {name: np.asarray(array) for name, array in arrays.items()}
    objects = [name for name, array in content.items() if array.dtype.hasobject]
    if objects:
        raise DataError(f"{path}: arrays of Python objects are not stored: {objects}")
    content["__meta__"] = np.asarray(json.dumps(dict(meta or {}), sort_keys=True))

    def write(tmp: Path) -> None:
        with tmp.open("wb") as stream:
            np.savez_compressed(stream, allow_pickle=False, **content)

    replace(path, write)


def read_arrays(path: PathLike) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read what ``write_arrays`` wrote: the arrays and the metadata."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        return arrays, json.loads(str(arrays.pop("__meta__", "{}")))
    except (OSError, ValueError, EOFError, KeyError, zlib.error, zipfile.BadZipFile) as error:
        raise unreadable(path, error) from error


def _checked(
    path: PathLike, fields: Sequence[str]
) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    arrays, meta = read_arrays(path)
    missing = [name for name in fields if name not in arrays]
    if missing:
        raise DataError(f"{path}: lacks the arrays {missing}; delete it and run snakemake again")
    return arrays, meta


def _ragged(parts: Sequence[NDArray[Any]]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Join arrays along their first axis; offsets tell where each begins and ends."""
    offsets = np.concatenate([[0], np.cumsum([len(p) for p in parts])]).astype(np.int64)
    return (np.concatenate(parts) if parts else np.zeros(0)), offsets


def _shards(
    paths: Iterable[PathLike], fields: Sequence[str]
) -> tuple[tuple[str, ...], NDArray[np.int64], list[dict[str, NDArray[Any]]]]:
    """Shards of ragged arrays: all material ids, the offsets of the joined arrays, each shard."""
    names = list(paths)
    checked = [_checked(path, ("material_id", "offsets", *fields)) for path in names]
    refuse_mixed(names, [meta.get("spec") for _, meta in checked])
    shards = [arrays for arrays, _ in checked]
    sizes = np.concatenate([np.diff(a["offsets"]) for a in shards])
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    return tuple(str(i) for a in shards for i in a["material_id"]), offsets, shards


def write_spectra(
    path: PathLike,
    spectra: Mapping[str, Spectrum],
    *,
    field: str = "density",
    spec: Mapping[str, Any] | None = None,
) -> None:
    """Write one shard of spectra of a field (``FIELD_UNITS``), in the mapping's order."""
    hkl, offsets = _ragged([s.hkl for s in spectra.values()])
    coefficients, _ = _ragged([s.coefficients for s in spectra.values()])
    write_arrays(
        path,
        {
            "material_id": np.asarray(list(spectra), dtype=str),
            "lattice": np.asarray([s.lattice for s in spectra.values()]).reshape(-1, 3, 3),
            "n_atoms": np.asarray([s.n_atoms for s in spectra.values()], dtype=np.int32),
            "offsets": offsets,
            "g_max": np.asarray([s.g_max for s in spectra.values()], dtype=np.float64),
            "hkl": hkl.reshape(-1, 3).astype(np.int16),
            "coefficients": coefficients.astype(np.complex64),
        },
        {**metadata(spec), "field": field, "unit": FIELD_UNITS[field]},
    )


def read_spectra(path: PathLike, *, field: str = "density") -> dict[str, Spectrum]:
    """Read one shard of spectra.

    Raises:
        DataError: the file is damaged, or holds another field.
    """
    fields = ("material_id", "lattice", "n_atoms", "g_max", "offsets", "hkl", "coefficients")
    a, meta = _checked(path, fields)
    if meta.get("field") != field:
        raise DataError(f"{path}: holds spectra of a {meta.get('field')}, expected a {field}")
    bounds = zip(a["offsets"][:-1], a["offsets"][1:], strict=True)
    return {
        str(name): Spectrum(
            lattice, int(n_atoms), a["hkl"][i:j], a["coefficients"][i:j], float(g_max)
        )
        for name, lattice, n_atoms, g_max, (i, j) in zip(
            a["material_id"], a["lattice"], a["n_atoms"], a["g_max"], bounds, strict=True
        )
    }


def write_spots(path: PathLike, spots: SpotSet, *, spec: Mapping[str, Any] | None = None) -> None:
    """Write one shard of reciprocal spots."""
    write_arrays(
        path,
        {
            "material_id": np.asarray(spots.ids, dtype=str),
            "offsets": spots.offsets,
            "g": spots.g,
            "amplitude": spots.amplitude,
            "volume_per_atom": spots.volume_per_atom,
        },
        metadata(spec),
    )


def read_spots(paths: Iterable[PathLike]) -> SpotSet:
    """Read the shards of a spot descriptor and join them in the given order."""
    ids, offsets, shards = _shards(paths, ("g", "amplitude", "volume_per_atom"))
    return SpotSet(
        ids=ids,
        offsets=offsets,
        g=np.concatenate([a["g"] for a in shards]),
        amplitude=np.concatenate([a["amplitude"] for a in shards], axis=1),
        volume_per_atom=np.concatenate([a["volume_per_atom"] for a in shards]),
    )


def write_images(
    path: PathLike, images: ImageSet, *, spec: Mapping[str, Any] | None = None
) -> None:
    """Write one shard of Fourier coefficients that images are made of."""
    write_arrays(
        path,
        {
            "material_id": np.asarray(images.ids, dtype=str),
            "offsets": images.offsets,
            "hkl": images.hkl,
            "coefficients": images.coefficients,
            "lattices": images.lattices,
        },
        metadata(spec),
    )


def read_images(paths: Iterable[PathLike]) -> ImageSet:
    """Read the shards of an image descriptor and join them in the given order."""
    ids, offsets, shards = _shards(paths, ("hkl", "coefficients", "lattices"))
    return ImageSet(
        ids=ids,
        offsets=offsets,
        hkl=np.concatenate([a["hkl"] for a in shards]),
        coefficients=np.concatenate([a["coefficients"] for a in shards], axis=1),
        lattices=np.concatenate([a["lattices"] for a in shards]),
    )


def write_graphs(
    path: PathLike, graphs: GraphSet, *, spec: Mapping[str, Any] | None = None
) -> None:
    """Write one shard of crystal graphs."""
    write_arrays(
        path,
        {
            "material_id": np.asarray(graphs.ids, dtype=str),
            "offsets": graphs.offsets,
            "numbers": graphs.numbers,
            "edge_offsets": graphs.edge_offsets,
            "edges": graphs.edges,
            "vectors": graphs.vectors,
        },
        metadata(spec),
    )


def read_graphs(paths: Iterable[PathLike]) -> GraphSet:
    """Read the shards of a graph descriptor and join them in the given order."""
    ids, offsets, shards = _shards(paths, ("numbers", "edge_offsets", "edges", "vectors"))
    edge_counts = np.concatenate([np.diff(a["edge_offsets"]) for a in shards])
    return GraphSet(
        ids=ids,
        offsets=offsets,
        numbers=np.concatenate([a["numbers"] for a in shards]),
        edge_offsets=np.concatenate([[0], np.cumsum(edge_counts)]).astype(np.int64),
        edges=np.concatenate([a["edges"] for a in shards], axis=1),
        vectors=np.concatenate([a["vectors"] for a in shards]),
    )


def write_fields(
    path: PathLike, fields: FieldSet, *, spec: Mapping[str, Any] | None = None
) -> None:
    """Write one shard of fields side by side."""
    names = [f.name for f in dataclasses.fields(fields) if f.name != "ids"]
    ids = {"material_id": np.asarray(fields.ids, dtype=str)}
    write_arrays(path, {**ids, **{n: getattr(fields, n) for n in names}}, metadata(spec))


def read_fields(paths: Iterable[PathLike]) -> FieldSet:
    """Read the shards of a field descriptor and join them in the given order."""
    along_rows = ("lattices", "hkl", "density", "atoms", "numbers", "frac_coords")
    ids, offsets, shards = _shards(paths, (*along_rows, "potentials", "atom_offsets"))
    sizes = np.concatenate([np.diff(a["atom_offsets"]) for a in shards])
    return FieldSet(
        ids=ids,
        offsets=offsets,
        potentials=np.concatenate([a["potentials"] for a in shards], axis=1),
        atom_offsets=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        **{name: np.concatenate([a[name] for a in shards]) for name in along_rows},
    )


def write_geometry(
    path: PathLike, molecules: MoleculeSet, *, spec: Mapping[str, Any] | None = None
) -> None:
    """Write one shard of molecules' elements and positions."""
    write_arrays(
        path,
        {
            "material_id": np.asarray(molecules.ids, dtype=str),
            "offsets": molecules.offsets,
            "numbers": molecules.numbers,
            "positions": molecules.positions,
            "charges": molecules.charges,
        },
        metadata(spec),
    )


def read_geometry(paths: Iterable[PathLike]) -> MoleculeSet:
    """Read the shards of molecules' elements and positions and join them in the given order."""
    fields = ("numbers", "positions", "charges")
    ids, offsets, shards = _shards(paths, fields)
    return MoleculeSet(
        ids, offsets, *(np.concatenate([a[name] for a in shards]) for name in fields)
    )


def write_wells(path: PathLike, solved: WellSet, *, spec: Mapping[str, Any] | None = None) -> None:
    """Write solved potentials in a box."""
    write_arrays(
        path,
        {
            "material_id": np.asarray(solved.ids, dtype=str),
            "potentials": solved.potentials,
            "densities": solved.densities,
            "kinetic": solved.kinetic,
            "energies": solved.energies,
        },
        metadata(spec),
    )


def read_wells(path: PathLike) -> WellSet:
    """Read what ``write_wells`` wrote."""
    fields = ("potentials", "densities", "kinetic", "energies")
    arrays, _ = _checked(path, ("material_id", *fields))
    ids = tuple(str(i) for i in arrays["material_id"])
    return WellSet(ids, *(arrays[name] for name in fields))
