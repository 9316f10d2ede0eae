"""Molecules from files: XYZ, QM9's own format, SDF, the QM9 archive; good ones and bad ones."""

import io
import tarfile

import numpy as np
import pytest
from tests.servers import Reply, serve

from rhoflow.errors import ConfigError, DataError
from rhoflow.structures.molecule_fetch import fetched, read_registry
from rhoflow.structures.molecule_qm9 import (
    CONSISTENT,
    QM9Source,
    qm9_steps,
    read_archive,
    read_qm9,
    uncharacterized,
)
from rhoflow.structures.molecule_select import MoleculeSelectionSpec, select_molecules
from rhoflow.structures.molecule_xyz import XYZSource, read_xyz, xyz_fingerprint

# dsgdb9nsd_000001.xyz of QM9 (CC0), methane, tabs and blanks as published.
METHANE = (
    "5\n"
    "gdb 1\t157.7118\t157.70997\t157.70699\t0.\t13.21\t-0.3877\t0.1171\t0.5048\t35.3641\t0.044749"
    "\t-40.47893\t-40.476062\t-40.475117\t-40.498597\t6.469\t\n"
    "C\t-0.0126981359\t 1.0858041578\t 0.0080009958\t-0.535689\n"
    "H\t 0.002150416\t-0.0060313176\t 0.0019761204\t 0.133921\n"
    "H\t 1.0117308433\t 1.4637511618\t 0.0002765748\t 0.133922\n"
    "H\t-0.540815069\t 1.4475266138\t-0.8766437152\t 0.133923\n"
    "H\t-0.5238136345\t 1.4379326443\t 0.9063972942\t 0.133923\n"
    "1341.307\t1341.3284\t1341.365\t1562.6731\t1562.7453\t3038.3205\t3151.6034\t3151.6788\t"
    "3151.7078\n"
    "C\tC\t\n"
    "InChI=1S/CH4/h1H4\tInChI=1S/CH4/h1H4\n"
)
WATER = "3\n\nO 0 0 0.119\nH 0 0.763 -0.477\nH 0 -0.763 -0.477\n"


def whole(candidate):
    assert candidate.molecule is not None, candidate.reason
    return candidate.molecule


def read(path, **settings):
    return list(read_xyz(XYZSource(path=str(path), **settings)))


def only(folder, text, name="a.xyz"):
    (folder / name).write_text(text)
    (candidate,) = read(folder / name)
    return candidate


def test_a_qm9_file_and_its_published_properties(tmp_path):
    candidate = only(tmp_path, METHANE, "dsgdb9nsd_000001.xyz")

    assert candidate.source_id == "dsgdb9nsd_000001"
    assert whole(candidate).symbols == ("C", "H", "H", "H", "H")
    assert whole(candidate).smiles == "C"
    assert whole(candidate).positions[3] == pytest.approx(
        [-0.540815069, 1.4475266138, -0.8766437152]
    )
    # Those that the authors of QDF computed from the same file: -17.1722 and -10.54985978 eV.
    assert candidate.known["atomization_energy_ev"] == pytest.approx(17.17218, abs=2e-5)
    assert candidate.known["homo_ev"] == pytest.approx(-10.54985978, abs=1e-5)
    assert candidate.known["lumo_ev"] == pytest.approx(3.18645494, abs=1e-5)
    assert candidate.known["polarizability_angstrom3"] == pytest.approx(
        13.21 * 0.529177**3, rel=1e-5
    )


def test_exponents_as_qm9_writes_them(tmp_path):
    text = METHANE.replace("0.002150416", "2.150416*^-3").replace("0.044749", "4.4749*^-2")

    candidate = only(tmp_path, text)

    assert whole(candidate).positions[1, 0] == pytest.approx(0.002150416)


def test_the_relaxed_of_two_smiles_counts(tmp_path):
    candidate = only(tmp_path, METHANE.replace("C\tC\t\n", "[CH3]\tC\t\n"))
    assert whole(candidate).smiles == "C"


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("1.0858041578", "1.08.58", "'1.08.58' is no number"),
        ("C\t-0.0126981359", "Xy\t-0.0126981359", "unknown element Xy"),
        ("13.21", "nan-like", "'nan-like' is no number"),
        ("-0.5238136345\t 1.4379326443\t 0.9063972942\t 0.133923", "-0.5\t1.4", "shape"),
        ("InChI=1S/CH4/h1H4\tInChI=1S/CH4/h1H4\n", "", None),
        ("C\tC\t\nInChI=1S/CH4/h1H4\tInChI=1S/CH4/h1H4\n", "", "8 lines, expected 10 for 5 atoms"),
    ],
)
def test_a_damaged_qm9_file_is_a_reason(tmp_path, old, new, reason):
    candidate = only(tmp_path, METHANE.replace(old, new))
    assert (candidate.molecule is None) == (reason is not None)
    assert (reason or "") in candidate.reason


def test_several_frames_blank_lines_charge_and_atomic_numbers(tmp_path):
    hydroxide = "2\ncharge=-1 other=3\n8 0 0 0\n1 0 0 0.97\n"
    (tmp_path / "many.xyz").write_text(WATER + "\n" + hydroxide + METHANE + "\n\n")

    candidates = read(tmp_path / "many.xyz")

    assert [c.source_id for c in candidates] == ["many#1", "many#2", "many#3"]
    assert [whole(c).charge for c in candidates] == [0, -1, 0]
    assert whole(candidates[1]).symbols == ("O", "H")
    assert [bool(c.known) for c in candidates] == [False, False, True]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty file"),
        ("\n\n", "no frames"),
        ("three\n\nO 0 0 0\n", "line 1 says 'three', expected a number of atoms"),
        ("-1\n\n", "expected a number of atoms"),
        ("99999999\n\n", "expected a number of atoms of at most"),
        ("3\n\nO 0 0 0\n", "announces 3 atoms, but the file ends after 1"),
        ("0\n\n", "no atoms"),
        ("1\n\nO 0 0\n", "shape"),
        ("1\n\nO 0 0 inf\n", "not finite"),
        ("1\n\nO 0 0 1e9\n", "from the origin"),
        ("1\n\nQq 0 0 0\n", "unknown element Qq"),
    ],
)
def test_a_broken_xyz_file_is_a_reason(tmp_path, text, reason):
    candidate = only(tmp_path, text)
    assert candidate.molecule is None
    assert reason in candidate.reason
    assert candidate.step == ""


def test_a_broken_frame_does_not_stop_other_files(tmp_path):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "good.XYZ").write_text(WATER)
    (tmp_path / "bad.xyz").write_text("nothing")
    (tmp_path / "notes.txt").write_text("no molecule")

    candidates = {c.source_id: c for c in read(tmp_path)}

    assert set(candidates) == {"bad.xyz", "deep/er/good"}
    assert candidates["deep/er/good"].molecule is not None
    assert candidates["bad.xyz"].molecule is None


def test_the_fingerprint_follows_the_files(tmp_path):
    (tmp_path / "a.xyz").write_text(WATER)
    spec = XYZSource(path=str(tmp_path))
    before = xyz_fingerprint(spec)
    (tmp_path / "b.xyz").write_text(WATER)
    assert xyz_fingerprint(spec) != before


@pytest.mark.parametrize("name", ["missing", "text.txt"])
def test_a_path_that_is_no_source_stops(tmp_path, name):
    (tmp_path / "text.txt").write_text("x")
    with pytest.raises(ConfigError, match=name):
        read(tmp_path / name)


def sdf(smiles, *, hydrogens=True, space=True):
    from rdkit import Chem
    from rdkit.Chem import rdDepictor, rdDistGeom

    molecule = Chem.MolFromSmiles(smiles)
    if hydrogens:
        molecule = Chem.AddHs(molecule)
    if space:
        rdDistGeom.EmbedMolecule(molecule, randomSeed=1)
    else:
        rdDepictor.Compute2DCoords(molecule)
    return Chem.MolToMolBlock(molecule), molecule


def test_sdf_records(tmp_path):
    first, ethanol = sdf("CCO")
    second, _ = sdf("C[NH3+]")
    (tmp_path / "a.sdf").write_text(f"{first}$$$$\n{second}> <name>\nx\n\n$$$$\n")

    one, two = read(tmp_path)

    assert one.source_id == "a#1"
    assert whole(one).smiles == "CCO"
    assert whole(one).n_atoms == 9
    assert np.allclose(whole(one).positions, ethanol.GetConformer().GetPositions(), atol=1e-4)
    assert whole(two).charge == 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (lambda: sdf("CCO", hydrogens=False)[0], "6 hydrogen atoms have no positions"),
        (lambda: sdf("CCO", space=False)[0], "flat drawing"),
        (lambda: "nonsense\nnonsense\n", "no valid SDF record"),
        (lambda: "\n\n", "no records"),
    ],
)
def test_a_bad_sdf_record_is_a_reason(tmp_path, text, reason):
    candidate = only(tmp_path, text(), "a.sdf")
    assert candidate.molecule is None
    assert reason in candidate.reason


# The data set ------------------------------------------------------------------------------

# Nine lines before the entries and one after them, as in the published list.
LISTED = """====
 3054 molecules of QM9 that failed
a consistency check
4
5
6
7
Index  SMILES
====
      2    N      N   0.1
     59    CC     C   0.2
====
"""


def archive(path, *, members=None):
    """A small archive as QM9's, one member with a name that would leave the folder."""
    ammonia = METHANE.replace("gdb 1\t", "gdb 2\t")
    members = members or {
        "dsgdb9nsd_000001.xyz": METHANE,
        "dsgdb9nsd_000002.xyz": ammonia,
        "../../dsgdb9nsd_000003.xyz": METHANE.replace("5\n", "five\n", 1),
        "../../../etc/evil": "nothing",
    }
    with tarfile.open(path, "w:bz2") as tar:
        for name, text in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))


def registry(folder, url, files):
    import hashlib

    lines = ["name,file,url,version,sha256,licence"]
    for name, path in files.items():
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        lines.append(f"{name},{path.name},{url}/{path.name},1,{digest},CC0-1.0")
    table = folder / "registry.csv"
    table.write_text("\n".join(lines) + "\n")
    return table


@pytest.fixture
def published(tmp_path):
    """The archive and the list at a publisher's, and what answers requests for them."""
    site = tmp_path / "site"
    site.mkdir()
    archive(site / "molecules.tar.bz2")
    (site / "uncharacterized.txt").write_text(LISTED)

    def answer(request):
        path = site / request.path.lstrip("/")
        return Reply(path.read_bytes()) if path.exists() else Reply(status=404)

    files = {
        "qm9_molecules": site / "molecules.tar.bz2",
        "qm9_uncharacterized": site / "uncharacterized.txt",
    }
    return answer, files


def test_qm9_is_fetched_once_and_its_uncharacterized_molecules_fall(tmp_path, published):
    answer, files = published
    spec = QM9Source(folder=str(tmp_path / "downloads"))
    with serve(answer) as server:
        table = registry(tmp_path, server.url, files)
        candidates = list(read_qm9(spec, table))
        again = list(read_qm9(spec, table))

    assert len(server.requests) == 2
    assert [c.source_id for c in candidates] == [f"dsgdb9nsd_00000{n}" for n in (1, 2, 3)]
    assert [c.molecule is not None for c in candidates] == [True, False, False]
    assert candidates[1].step == CONSISTENT
    assert "line" in candidates[2].reason or "five" in candidates[2].reason
    assert [c.source_id for c in again] == [c.source_id for c in candidates]
    result = select_molecules(
        candidates, MoleculeSelectionSpec(size=1), source="qm9", source_steps=qm9_steps(spec)
    )
    funnel = result.funnel.set_index("step")
    assert funnel.dropped[CONSISTENT] == 1
    assert result.structures.known_atomization_energy_ev[0] == pytest.approx(17.17218, abs=2e-5)


def test_all_of_qm9_without_the_list(tmp_path, published):
    answer, files = published
    spec = QM9Source(folder=str(tmp_path / "downloads"), drop_uncharacterized=False)
    with serve(answer) as server:
        found = list(read_qm9(spec, registry(tmp_path, server.url, files)))
    assert [c.molecule is not None for c in found] == [True, True, False]
    assert qm9_steps(spec) == {}


def test_the_list_of_uncharacterized_molecules():
    assert uncharacterized(LISTED) == {2, 59}
    with pytest.raises(DataError, match="'Index' where the number"):
        uncharacterized("one more line\n" * 2 + LISTED.replace("====\n      2", "      2"))


def test_a_damaged_archive_stops(tmp_path):
    archive(tmp_path / "a.tar.bz2")
    whole = (tmp_path / "a.tar.bz2").read_bytes()
    (tmp_path / "a.tar.bz2").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="cannot be read"):
        list(read_archive(tmp_path / "a.tar.bz2", frozenset()))


def test_another_file_than_the_registry_says_is_not_kept(tmp_path, published):
    answer, files = published
    with serve(answer) as server:
        table = registry(tmp_path, server.url, files)
        files["qm9_uncharacterized"].write_text("changed")
        with pytest.raises(DataError, match="gives another file than the registry says"):
            fetched("qm9_uncharacterized", table, tmp_path / "down", timeout_s=5)
    assert list((tmp_path / "down").iterdir()) == []


def test_another_file_in_the_folder_is_not_taken(tmp_path, published):
    answer, files = published
    (tmp_path / "down").mkdir()
    (tmp_path / "down" / "uncharacterized.txt").write_text("mine")
    with serve(answer) as server:
        table = registry(tmp_path, server.url, files)
        with pytest.raises(DataError, match="is not the file of the registry"):
            fetched("qm9_uncharacterized", table, tmp_path / "down", timeout_s=5)
    assert server.requests == []


def test_without_network_the_error_says_what_to_put_where(tmp_path, published):
    _, files = published
    table = registry(tmp_path, "http://127.0.0.1:9", files)
    with pytest.raises(DataError, match="no connection") as caught:
        fetched("qm9_molecules", table, tmp_path / "down", timeout_s=5)
    assert "molecules.tar.bz2" in str(caught.value)
    assert "SHA-256" in str(caught.value)


def test_a_publisher_that_drips_ends_in_time(tmp_path, published):
    _, files = published
    with serve(lambda _: Reply(b"x" * 1000, drip_s=0.05)) as server:
        table = registry(tmp_path, server.url, files)
        with pytest.raises(DataError, match="cannot be fetched"):
            fetched("qm9_molecules", table, tmp_path / "down", timeout_s=0.5)


def test_a_status_that_is_no_success_is_named(tmp_path, published):
    _, files = published
    with serve(lambda _: Reply(status=403)) as server:
        table = registry(tmp_path, server.url, files)
        with pytest.raises(DataError, match="status 403"):
            fetched("qm9_molecules", table, tmp_path / "down", timeout_s=5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,url\na,b\n", "cannot be read"),
        ("name,file,url,version,sha256,licence\na,../b,http://x,1,00,CC0\n", "no plain name"),
        ("name,file,url,version,sha256,licence\na,..,http://x,1,00,CC0\n", "no plain name"),
        ("name,file,url,version,sha256,licence\nqm8,b,http://x,1,00,CC0\n", "no entry 'qm9'"),
        ("name,file,url,version,sha256,licence\nqm9,b,http://x,1,,CC0\n", "has no checksum"),
    ],
)
def test_a_wrong_registry_stops(tmp_path, text, message):
    (tmp_path / "registry.csv").write_text(text)
    with pytest.raises(ConfigError, match=message):
        fetched("qm9", tmp_path / "registry.csv", tmp_path, timeout_s=1)


def test_the_registry_that_ships(pytestconfig):
    entries = read_registry(pytestconfig.rootpath / "resources" / "registry.csv")
    assert {"qm9_molecules", "qm9_uncharacterized"} <= set(entries)
    for entry in entries.values():
        assert entry.url.startswith("https://")
        assert entry.licence
        assert len(entry.sha256) in (0, 64)
