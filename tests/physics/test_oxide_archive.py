"""The archive that ships: whole, physical, and consistent with itself."""

from pathlib import Path

import numpy as np
import pytest

from rhoflow import io
from rhoflow.density.spectrum import hartree_energy
from rhoflow.structures.archive import ArchiveSource, read_archive
from rhoflow.tables import STATUS_OK

FOLDER = Path(__file__).parents[2] / "resources" / "oxides"
SHARDS = sorted(FOLDER.glob("[0-9]*.parquet"))


@pytest.mark.parametrize("path", SHARDS, ids=lambda p: p.stem)
def test_every_entry_of_a_shard_is_whole_and_physical(path):
    table = io.read_archive_table(path)
    done = table[table["status"] == STATUS_OK].set_index("material_id")
    assert table.loc[table["status"] != STATUS_OK, "reason"].notna().all()
    densities = io.read_spectra(path.with_suffix(".density.npz"))
    potentials = io.read_spectra(path.with_suffix(".potential.npz"), field="potential")
    assert list(densities) == list(potentials) == list(done.index)
    assert (done["bulk_modulus_gpa"] > 0).all()
    assert (done["band_gap_ev"] >= 0).all()
    assert done["bulk_modulus_derivative"].between(0, 12).all()
    for name, record in done.iterrows():
        density = densities[str(name)]
        assert density.n_electrons == pytest.approx(record["n_valence_electrons"], abs=1e-3)
        assert density.volume == pytest.approx(record["volume_angstrom3"], rel=1e-9)
        # What lies beyond 9 1/Å can only add.
        missing = 1 - hartree_energy(density) / record["hartree_energy_ev"]
        assert 0 <= missing < 0.01, name
        bands = len(record["eigenvalues_ev"]) / len(record["kpoint_weights"])
        assert bands == int(bands)
        assert np.sum(record["kpoint_weights"]) == pytest.approx(1)


def test_no_entry_stands_twice_and_every_element_has_its_atom():
    candidates = list(read_archive(ArchiveSource(path=str(FOLDER))))
    names = [c.source_id for c in candidates]
    assert len(set(names)) == len(names) >= 12
    atoms = io.read_table(FOLDER / "atoms.parquet").set_index("element")
    elements = {str(e) for c in candidates if c.structure for e in c.structure.elements}
    assert elements <= set(atoms.index[atoms["status"] == STATUS_OK])
