"""Finished runs of the stand-in for VASP, and a licensed folder of made-up POTCARs."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from rhoflow.crystal import Crystal
from rhoflow.dft import outputs
from rhoflow.dft.vasp import VaspSpec
from rhoflow.dft.vasp_inputs import Inputs, atom_inputs, crystal_inputs
from rhoflow.dft.vasp_potcar import potcar

ROOT = Path(__file__).parents[1]
FAKE_VASP = ROOT / "tests" / "fake_vasp.py"
VALENCES = {"O": 6, "Mg": 2, "Ti_sv": 12, "Ni": 10}

EDGE = 4.21 / 2
MGO = Crystal(
    "MgO",
    np.array([[0, EDGE, EDGE], [EDGE, 0, EDGE], [EDGE, EDGE, 0]]),
    ("O", "Mg", "O", "Mg")[:2],
    np.array([[0.5, 0.5, 0.5], [0.0, 0.0, 0.0]]),
)


def fake_command(mode: str = "none") -> tuple[str, ...]:
    importable = f"PYTHONPATH={ROOT / 'workflow'}"
    return ("env", importable, sys.executable, str(FAKE_VASP), "--fail", mode)


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT / "workflow"), "OMP_NUM_THREADS": "1"}


def make_potcars(folder: Path) -> Path:
    """POTCARs with heads as VASP's have, and nothing in them."""
    for name, valence in VALENCES.items():
        place = folder / "potpaw_PBE" / name
        place.mkdir(parents=True)
        (place / "POTCAR").write_text(
            f"  PAW_PBE {name} 08Apr2002\n   {valence:.14f}\n parameters from PSCTR are:\n"
            f"   VRHFIN ={name.split('_')[0]}: made up, no potential\n   LEXCH  = PE\n"
            "   EATOM  =   432.3788 eV,   31.7789 Ry\n\n"
            f"   TITEL  = PAW_PBE {name} 08Apr2002\n"
            f"   POMASS =   16.000; ZVAL   =    {valence:.3f}    mass and valenz\n"
            "   ENMAX  =  400.000; ENMIN  =  300.000 eV\n   LPAW   =        T    paw PP\n"
            " END of PSCTR-controll parameters\n local part\n   0.0\n End of Dataset\n"
        )
    return folder


def vasp_spec(potcars: Path, mode: str = "none", **settings) -> VaspSpec:
    return VaspSpec(potcar_folder=str(potcars), command=fake_command(mode), **settings)


def finished_run(folder: Path, potcars: Path, mode: str = "none", **settings) -> Path:
    """MgO as the stand-in leaves it, POTCAR removed."""
    return _run(crystal_inputs(MGO, VaspSpec(**settings)), folder, potcars, mode)


def finished_atom(
    element: str, folder: Path, potcars: Path, mode: str = "none", **settings
) -> Path:
    return _run(atom_inputs(element, VaspSpec(**settings)), folder, potcars, mode)


def _run(inputs: Inputs, folder: Path, potcars: Path, mode: str) -> Path:
    folder.mkdir(parents=True)
    for name, text in inputs.files.items():
        (folder / name).write_text(text)
    content = b"".join(potcar(potcars, name, "PAW_PBE") for name in inputs.potcar_symbols)
    (folder / "POTCAR").write_bytes(content)
    subprocess.run(
        fake_command(mode), cwd=folder, env=environment(), capture_output=True, check=False
    )
    (folder / "POTCAR").unlink()
    return folder


def read_run(run: Path, **settings) -> Any:
    """What the engine makes of a run of MgO."""
    crystal = replace(MGO, origin=str(run))
    return outputs.calculate(crystal, outputs.OutputsSpec(**settings), run.parent / "log.txt")


def reason(run: Path, status: str = "failed", **settings) -> str:
    result = read_run(run, **settings)
    assert result.record["status"] == status
    assert result.spectrum is None
    assert "\n" not in result.record["reason"]
    return result.record["reason"]


def found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    assert match
    return match[0]


def edit(path: Path, pattern: str, text: str, count: int = 1) -> None:
    new, changed = re.subn(pattern, text, path.read_text(), count=count)
    assert changed, f"{pattern} is not in {path.name}"
    path.write_text(new)
