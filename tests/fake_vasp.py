"""A STAND-IN FOR VASP, for tests only. It computes nothing.

VASP is licensed and cannot be part of a test suite. This script reads INCAR, POSCAR, KPOINTS and
POTCAR in its working folder as VASP does and writes vasprun.xml, OUTCAR, CHGCAR, LOCPOT and
OSZICAR in VASP's layout. The density is a sum of Gaussians that holds the POTCARs' electrons,
TEWEN and DENC are right for it, everything else is made up. The layout is held against real files
of VASP by ``tests/golden/test_vasp_real.py``.

``--fail MODE`` makes it end as VASP does when things go wrong; see ``MODES``.
"""

import argparse
import os
import re
import signal
import sys
import time
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from rhoflow.crystal import Crystal
from rhoflow.density.ewald import ion_energy
from rhoflow.density.spectrum import from_grid, hartree_energy, reciprocal_lattice
from rhoflow.vasp.outcar import read_potcar
from rhoflow.vasp.volumetric import read_header

MODES = {
    "none": "all is well",
    "unconverged": "NELM electronic steps without reaching EDIFF, whatever the algorithm",
    "fast": "unconverged unless ALGO = All, which custodian tries",
    "edddav": "an error message that custodian answers with ALGO = All",
    "stubborn": "an error message that no correction cures",
    "crash": "ends with code 3 and a line on stderr",
    "killed": "killed by a signal halfway through OUTCAR",
    "truncated": "CHGCAR cut off in the middle",
    "silent": "ends well without writing anything",
    "sleep": "runs until it is ended; leaves its process number in `pid`",
}
WIDTH_ANGSTROM = 0.55
GRID_EDGE = 0.22
BAND_ENERGIES = (-17.0, -5.0, 1.0, 4.0, 9.0, 12.0)
BANNER = " STAND-IN FOR TESTS: not VASP, no physics in here"
MESSAGES = {
    "edddav": " Error EDDDAV: Call to ZHEGV failed. Returncode =   7 2  24",
    "stubborn": " Error EDDDAV: Call to ZHEGV failed. Returncode =   7 2  24",
}


def read_incar(path: Path) -> dict[str, str]:
    pairs = [line.split("=", 1) for line in path.read_text().splitlines() if "=" in line]
    return {tag.strip(): value.strip() for tag, value in pairs}


def is_true(value: str) -> bool:
    return value.strip(". ").upper().startswith("T")


def grid_shape(lattice: np.ndarray) -> tuple[int, int, int]:
    n1, n2, n3 = (2 * int(np.ceil(a / GRID_EDGE / 2)) for a in np.linalg.norm(lattice, axis=1))
    return n1, n2, n3


def density_of(crystal: Crystal, valences: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """ρ·V on the grid: Gaussians at the atoms, built in reciprocal space."""
    axes = [np.fft.fftfreq(n, 1 / n) for n in shape]
    hkl = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    g = hkl @ reciprocal_lattice(crystal.lattice)
    damp = np.exp(-0.5 * WIDTH_ANGSTROM**2 * (g**2).sum(axis=-1))
    waves = np.zeros(shape, dtype=complex)
    for position, valence in zip(crystal.frac_coords, valences, strict=True):
        waves += valence * np.exp(-2j * np.pi * hkl @ position)
    return np.fft.ifftn(waves * damp).real * np.prod(shape)


def fortran(value: float) -> str:
    """E17.11 of Fortran: 0.12345678901E+02, the zero lost before a minus sign's digits."""
    mantissa, exponent = f"{abs(value):.10E}".split("E")
    digits = mantissa.replace(".", "")
    power = int(exponent) + 1 if value else 0
    mark = f"E{power:+03d}" if abs(power) < 100 else f"{power:+04d}"
    return f"{'-' if value < 0 else '0'}.{digits}{mark}"


def write_grid(file: TextIO, values: np.ndarray) -> None:
    """One block of numbers, x fastest, five a line."""
    file.write("".join(f"{n:5d}" for n in values.shape) + "\n")
    flat = [fortran(v) for v in values.ravel(order="F")]
    for start in range(0, len(flat), 5):
        file.write(" " + " ".join(flat[start : start + 5]) + "\n")


def write_head(file: TextIO, crystal: Crystal) -> None:
    kinds = list(dict.fromkeys(crystal.symbols))
    counts = [crystal.symbols.count(k) for k in kinds]
    rows = ["".join(f"{x:12.6f}" for x in row) for row in crystal.lattice]
    places = ["".join(f"{x:10.6f}" for x in row) for row in crystal.frac_coords]
    names = "".join(f"   {k:<2s}" for k in kinds)
    numbers = "".join(f"{c:6d}" for c in counts)
    lines = ["unknown system", "   1.00000000000000     ", *(f" {r}" for r in rows), names, numbers]
    file.write("\n".join([*lines, "Direct", *places, " ", ""]))


def write_augmentation(file: TextIO, n_atoms: int) -> None:
    for atom in range(1, n_atoms + 1):
        file.write(f"augmentation occupancies{atom:4d}{7:4d}\n")
        file.write("  0.1234567E+00 -0.1234567E-01  0.0000000E+00  0.0000000E+00  0.0000000E+00\n")
        file.write("  0.1234567E-19  0.7654321E+00\n")


def write_chgcar(path: Path, crystal: Crystal, rho: np.ndarray, spins: int) -> None:
    with path.open("w") as file:
        write_head(file, crystal)
        write_grid(file, rho)
        write_augmentation(file, crystal.n_atoms)
        if spins == 2:
            moments = "".join(f"{0.25:20.12E}" for _ in crystal.symbols)
            file.write(f"{moments}\n")
            write_grid(file, rho * 0.125)
            write_augmentation(file, crystal.n_atoms)


def write_locpot(path: Path, crystal: Crystal, rho: np.ndarray) -> None:
    with path.open("w") as file:
        write_head(file, crystal)
        write_grid(file, -rho / rho.mean())


class Run:
    """What the stand-in makes up about a run."""

    def __init__(self, incar: dict[str, str], mode: str) -> None:
        header = read_header(Path("POSCAR"))
        self.crystal = header.crystal("POSCAR")
        heads = read_potcar(Path("POTCAR"))
        counts = header.counts
        self.kinds = list(zip(heads.symbols, counts, heads.valences, heads.titles, strict=True))
        self.valences = np.repeat(heads.valences, counts)
        self.incar = incar
        self.spins = int(incar.get("ISPIN", "1"))
        self.nelm = int(incar.get("NELM", "60"))
        cured = incar.get("ALGO") == "All"
        self.converges = mode != "unconverged" and (mode != "fast" or cured)
        self.steps = 9 if self.converges else self.nelm
        self.mesh = [int(n) for n in Path("KPOINTS").read_text().splitlines()[3].split()]
        shape = grid_shape(self.crystal.lattice)
        self.rho = density_of(self.crystal, self.valences, shape)
        spectrum = from_grid(
            self.rho / self.crystal.volume, self.crystal.lattice, self.crystal.n_atoms
        )
        self.energies = {
            "TEWEN": ion_energy(self.crystal, self.valences),
            "DENC": -hartree_energy(spectrum),
            "EBANDS": float(-3.0 * self.valences.sum()),
            "TOTEN": float(-5.0 * self.crystal.n_atoms),
        }

    def levels(self) -> list[tuple[float, float]]:
        """Energy and occupation (0 to 1) of the bands at any k-point."""
        filled = int(np.ceil(self.valences.sum() / 2))
        low = [BAND_ENERGIES[0] + 0.1 * i for i in range(filled - 1)]
        return [(e, 1.0) for e in [*low, BAND_ENERGIES[3]]] + [(e, 0.0) for e in BAND_ENERGIES[4:]]


def outcar_head(run: Run) -> str:
    lines = [" vasp.5.4.4.18Apr17-6-g9f103f2a35 (stand-in for tests) complex"]
    lines += [BANNER]
    for symbol, _, valence, title in run.kinds:
        lines += [
            f"   VRHFIN ={symbol}: made up",
            "   LEXCH  = PE",
            f"   TITEL  = {title}",
            f"   POMASS =   10.000; ZVAL   ={valence:9.3f}    mass and valenz",
        ]
    nions = run.crystal.n_atoms
    counts = "".join(f"{count:4d}" for _, count, *_ in run.kinds)
    lines += [
        f"   number of dos      NEDOS =    301   number of ions     NIONS ={nions:7d}",
        f"   ions per type =           {counts}",
        f"   ISPIN  ={run.spins:7d}    spin polarized calculation?",
        "   LNONCOLLINEAR =      F non collinear calculations",
        f"   NELM   ={run.nelm:7d};   NELMIN=  2; NELMDL= -5     # of ELM steps",
        "   NSW    =      0    number of steps for IOM",
        "   IBRION =     -1    ionic relax: 0-MD 1-quasi-New 2-CG",
        f"   NELECT = {run.valences.sum():12.4f}    total number of electrons",
        "   ICHARG =      2    charge: 1-file 2-atom 10-const",
        "   LVHAR   =      T    Hartree potential to LOCPOT?",
        "   GGA     =    --    GGA type",
        "      direct lattice vectors                 reciprocal lattice vectors",
        *("".join(f"{x:13.9f}" for x in (*row, *row)) for row in run.crystal.lattice),
        "",
        " position of ions in cartesian coordinates  (Angst):",
    ]
    places = run.crystal.frac_coords @ run.crystal.lattice
    lines += ["".join(f"{x:13.8f}" for x in row) for row in places]
    return "\n".join([*lines, " ", ""])


def outcar_step(run: Run, step: int) -> str:
    e = run.energies
    total = e["TOTEN"] + 3.0 * 0.2**step
    return (
        f"\n--------------------------------------- Iteration    1({step:4d})  ------------------\n"
        "\n Free energy of the ion-electron system (eV)\n"
        "  ---------------------------------------------------\n"
        f"  Ewald energy   TEWEN  =  {e['TEWEN']:16.8f}\n"
        f"  -Hartree energ DENC   =  {e['DENC']:16.8f}\n"
        f"  eigenvalues    EBANDS =  {e['EBANDS']:16.8f}\n"
        f"  free energy    TOTEN  =  {total:16.8f} eV\n"
        f"\n  energy without entropy = {total:16.8f}  energy(sigma->0) = {total:16.8f}\n"
    )


def outcar_end(run: Run) -> str:
    lines = [" E-fermi :   5.0000     XC(G=0):  -9.3253     alpha+bet :-11.7276", ""]
    for spin in range(1, run.spins + 1):
        lines += ["", f" spin component {spin}", ""] if run.spins == 2 else []
        lines += [" k-point     1 :       0.0000    0.0000    0.0000"]
        lines += ["  band No.  band energies     occupation "]
        share = 1 if run.spins == 2 else 2
        lines += [
            f"{i:7d}  {e:10.4f}  {share * o:11.5f}" for i, (e, o) in enumerate(run.levels(), 1)
        ]
    word = "EDIFF is reached" if run.converges else "EDIFF was not reached (unconverged)"
    lines += ["", f"------------------------ aborting loop because {word} -----------"]
    lines += [" General timing and accounting informations for this job:", ""]
    return "\n".join(lines)


def xml_energy(values: dict[str, float], indent: str) -> str:
    rows = [f'{indent} <i name="{k}">{v:16.8f} </i>' for k, v in values.items()]
    return "\n".join([f"{indent}<energy>", *rows, f"{indent}</energy>"])


def xml_structure(crystal: Crystal, name: str, indent: str) -> str:
    def rows(array: np.ndarray) -> str:
        return "\n".join(f"{indent}   <v> {' '.join(f'{x:16.8f}' for x in r)} </v>" for r in array)

    label = f' name="{name}"' if name else ""
    return (
        f'{indent}<structure{label}>\n{indent} <crystal>\n{indent}  <varray name="basis" >\n'
        f"{rows(crystal.lattice)}\n{indent}  </varray>\n"
        f'{indent}  <i name="volume">{crystal.volume:16.8f} </i>\n'
        f'{indent}  <varray name="rec_basis" >\n{rows(np.linalg.inv(crystal.lattice).T)}\n'
        f"{indent}  </varray>\n{indent} </crystal>\n"
        f'{indent} <varray name="positions" >\n{rows(crystal.frac_coords)}\n'
        f"{indent} </varray>\n{indent}</structure>"
    )


def xml_atoms(run: Run) -> str:
    places = [i for i, (_, count, *_) in enumerate(run.kinds, 1) for _ in range(count)]
    atoms = [
        f"    <rc><c>{s:<2s}</c><c>{t:4d}</c></rc>"
        for s, t in zip(run.crystal.symbols, places, strict=True)
    ]
    types = [
        f"    <rc><c>{c:4d}</c><c>{s:<2s}</c><c>     10.00000000</c><c>{z:16.8f}</c>"
        f"<c>  {t:<40s}</c></rc>"
        for s, c, z, t in run.kinds
    ]
    fields = ["atomspertype", "element", "mass", "valence", "pseudopotential"]
    return "\n".join(
        [
            f" <atominfo>\n  <atoms>{len(atoms):8d} </atoms>\n  <types>{len(types):8d} </types>",
            '  <array name="atoms" >\n   <dimension dim="1">ion</dimension>',
            '   <field type="string">element</field>\n   <field type="int">atomtype</field>',
            "   <set>", *atoms, "   </set>\n  </array>",
            '  <array name="atomtypes" >\n   <dimension dim="1">type</dimension>',
            *(f"   <field>{f}</field>" for f in fields),
            "   <set>", *types, "   </set>\n  </array>\n </atominfo>",
        ]
    )  # fmt: skip


def xml_eigenvalues(run: Run) -> str:
    rows = "\n".join(f"       <r>{e:10.4f} {o:9.4f} </r>" for e, o in run.levels())
    spins = "\n".join(
        f'     <set comment="spin {s}">\n      <set comment="kpoint 1">\n{rows}\n'
        "      </set>\n     </set>"
        for s in range(1, run.spins + 1)
    )
    return (
        '  <eigenvalues>\n   <array>\n    <dimension dim="1">band</dimension>\n'
        '    <dimension dim="2">kpoint</dimension>\n    <dimension dim="3">spin</dimension>\n'
        "    <field>eigene</field>\n    <field>occ</field>\n"
        f"    <set>\n{spins}\n    </set>\n   </array>\n  </eigenvalues>"
    )


def xml_parameters(run: Run) -> str:
    def item(name: str, value: Any, kind: str = "") -> str:
        label = f'type="{kind}" ' if kind else ""
        return f'   <i {label}name="{name}">{value}</i>'

    rows = [
        item("PREC", "accura", "string"), item("ALGO", run.incar.get("ALGO", "Normal"), "string"),
        item("NELECT", f"{run.valences.sum():.8f}"), item("ISPIN", run.spins, "int"),
        item("NELM", run.nelm, "int"), item("ICHARG", 2, "int"), item("NSW", 0, "int"),
        item("IBRION", -1, "int"), item("ISMEAR", 0, "int"), item("EDIFF", "0.00000100"),
        item("LNONCOLLINEAR", " F  ", "logical"), item("GGA", "--", "string"),
        item("LVHAR", " T  ", "logical"), item("SYSTEM", "unknown system", "string"),
    ]  # fmt: skip
    return "\n".join([' <parameters>\n  <separator name="general" >', *rows]) + (
        "\n  </separator>\n </parameters>"
    )


def vasprun(run: Run) -> str:
    e = run.energies
    terms = {"ewald": e["TEWEN"], "hartreedc": e["DENC"], "bandstr": e["EBANDS"]}
    last = {"e_fr_energy": e["TOTEN"], "e_wo_entrp": e["TOTEN"], "e_0_energy": e["TOTEN"]}
    steps = [last] * (run.steps - 1) + [{**terms, **last}]
    # As VASP 5 does: the ionic step's own e_0_energy is the entropy term.
    ionic = {"e_fr_energy": e["TOTEN"], "e_wo_entrp": e["TOTEN"], "e_0_energy": 0.0}
    tags = [
        f'  <i type="string" name="{tag}">{value}</i>'
        for tag, value in run.incar.items()
        if tag in ("ALGO", "PREC", "SYSTEM")
    ]
    mesh = " ".join(f"{n:8d}" for n in run.mesh)
    body = [
        '<?xml version="1.0" encoding="ISO-8859-1"?>\n<modeling>\n <generator>',
        '  <i name="program" type="string">vasp </i>',
        '  <i name="version" type="string">5.4.4  </i>',
        f'  <i name="subversion" type="string">{BANNER}</i>\n </generator>',
        " <incar>", *tags, " </incar>",
        f' <kpoints>\n  <generation param="Gamma">\n   <v type="int" name="divisions">{mesh} </v>',
        '  </generation>\n  <varray name="kpointlist" >\n   <v> 0.0 0.0 0.0 </v>\n  </varray>',
        '  <varray name="weights" >\n   <v>       1.00000000 </v>\n  </varray>\n </kpoints>',
        xml_parameters(run), xml_atoms(run), xml_structure(run.crystal, "initialpos", " "),
        " <calculation>",
        *(f"  <scstep>\n{xml_energy(step, '   ')}\n  </scstep>" for step in steps),
        xml_structure(run.crystal, "", "  "), xml_energy(ionic, "  "), xml_eigenvalues(run),
        '  <dos>\n   <i name="efermi">      5.00000000 </i>\n  </dos>\n </calculation>',
        xml_structure(run.crystal, "finalpos", " "), "</modeling>", "",
    ]  # fmt: skip
    return "\n".join(body)


def compute(mode: str) -> None:
    run = Run(read_incar(Path("INCAR")), mode)
    with Path("OUTCAR").open("w") as outcar:
        outcar.write(outcar_head(run))
        for step in range(1, run.steps + 1):
            outcar.write(outcar_step(run, step))
            if mode == "killed" and step == 4:
                outcar.flush()
                os.kill(os.getpid(), signal.SIGKILL)
        outcar.write(outcar_end(run))
    Path("vasprun.xml").write_text(vasprun(run))
    total = run.energies["TOTEN"]
    Path("OSZICAR").write_text(f"   1 F= {total:.8E} E0= {total:.8E}  d E =0.000000E+00\n")
    if is_true(run.incar.get("LCHARG", ".TRUE.")):
        write_chgcar(Path("CHGCAR"), run.crystal, run.rho, run.spins)
    if is_true(run.incar.get("LVHAR", ".FALSE.")):
        write_locpot(Path("LOCPOT"), run.crystal, run.rho)
    if mode == "truncated":
        text = Path("CHGCAR").read_text()
        Path("CHGCAR").write_text(re.sub(r"\S+$", "", text[: len(text) // 2]))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fail", choices=sorted(MODES), default="none")
    mode = parser.parse_args().fail
    print(BANNER, flush=True)
    if mode == "silent":
        return 0
    if mode == "sleep":
        Path("pid").write_text(str(os.getpid()))
        time.sleep(120)
    if mode == "crash":
        print("forrtl: severe (174): SIGSEGV, segmentation fault occurred", file=sys.stderr)
        return 3
    cured = read_incar(Path("INCAR")).get("ALGO") == "All"
    if mode == "stubborn" or (mode == "edddav" and not cured):
        print(MESSAGES[mode])
        return 1
    compute(mode)
    return 0


if __name__ == "__main__":
    sys.exit(main())
