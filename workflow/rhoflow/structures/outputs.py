"""Structures of finished VASP runs, wherever they lie in a tree of folders."""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from rhoflow.errors import ConfigError, DataError
from rhoflow.spec import Spec
from rhoflow.structures.candidates import Candidate
from rhoflow.structures.folder import fingerprint_of, user_path
from rhoflow.structures.reading import attempt, build, unreadable
from rhoflow.vasp.folders import RunFiles, find_runs
from rhoflow.vasp.run import crystal_of


class OutputsSource(Spec):
    """Finished VASP runs in a tree of folders, for the engine of the same name."""

    kind: Literal["outputs"] = Field(default="outputs", description="finished VASP runs")
    algorithm: Literal[1] = Field(
        default=1, description="version of the numbers that this step gives"
    )
    path: str = Field(
        description="folder that is searched, at any depth, for folders with a CHGCAR, vasprun.xml "
        "or OUTCAR (plain, .gz, .bz2 or .xz)"
    )


def read_outputs(spec: OutputsSource) -> Iterator[Candidate]:
    """Yield the structure of every run, in the order of their names.

    ``source_id`` is the run's folder relative to the path, with the file's name where a folder
    holds several runs; ``origin`` is that folder or file. The structure is the one at the head of
    CHGCAR, or where there is none that of vasprun.xml, OUTCAR, CONTCAR or POSCAR.

    Raises:
        ConfigError: the folder is missing, cannot be read or holds no run.
    """
    return (_candidate(run) for run in runs(spec))


def runs(spec: OutputsSource) -> list[RunFiles]:
    """The runs below the folder.

    Raises:
        ConfigError: the folder is missing, cannot be read or holds none.
    """
    folder = user_path(spec.path, "outputs")
    if not folder.is_dir():
        raise ConfigError(
            f"outputs: '{folder}' is not a folder; set the source's path to the folder that holds "
            "your finished VASP runs"
        )
    found = list(find_runs(folder))
    if not found:
        raise ConfigError(
            f"outputs: '{folder}' holds no finished VASP run; expected CHGCAR, vasprun.xml or "
            "OUTCAR (plain, .gz, .bz2 or .xz) there or in its subfolders"
        )
    if found[0].origin == folder and found[0].problem:
        raise ConfigError(
            f"outputs: '{folder}': {found[0].problem}; expected a folder that you may read"
        )
    return found


def fingerprint(spec: OutputsSource) -> str:
    """SHA-256 of the names, sizes and times of the runs' files.

    Raises:
        ConfigError: as ``runs``.
    """
    paths = [path for run in runs(spec) for path in run.present()]
    return fingerprint_of(paths, user_path(spec.path, "outputs"))


def _candidate(run: RunFiles) -> Candidate:
    try:
        str(run.origin).encode("utf-8")
    except UnicodeEncodeError:
        shown = run.name.encode("ascii", "backslashreplace").decode()
        return Candidate(shown, None, "unreadable: the folder's name is not UTF-8; rename it")
    try:
        crystal = crystal_of(run)
    except DataError as error:
        return unreadable(run.name, error)
    read = attempt(run.name, build, crystal.lattice, crystal.symbols, crystal.frac_coords)
    return Candidate(read.source_id, read.structure, read.reason, origin=str(run.origin))
