"""Small molecules that the project makes itself: every way to join C, N, O and F by valence.

Skeletons of single bonds grow atom by atom; then bonds are added, between atoms that have none
(rings) or where there is one (double, triple), as long as valences last: four for carbon, three
for nitrogen, two for oxygen, one for fluorine. Hydrogen fills what is left. So come all neutral
closed-shell molecules without formal charges, of which those stay that chemistry would keep, by
rules in the manner of the enumeration from which QM9 stems (Fink and Reymond, J. Chem. Inf. Model.
47, 342, 2007):

- no bond O-O, and none between fluorine and N, O or F; no three of N and O in a row;
- no atom with two double bonds;
- at most two rings, no triple bond in a ring, no double bond in a ring of three or four atoms;
- no OH or NH on a carbon of a C=C or C≡C bond, no OH on one of a C=N or C≡N bond (enols, enamines
  and imidic acids turn into their tautomers), and no sp3 carbon that carries OH or NH beside
  another N, O or F (such molecules fall apart).

No stereoisomers are told apart: each molecule has one geometry, as ``molecule_embed`` makes it.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field, field_validator

from rhoflow.spec import Spec
from rhoflow.structures.molecule_candidates import (
    MoleculeCandidate,
    attempt_molecule,
    require_rdkit,
)
from rhoflow.structures.molecule_embed import embedded

VALENCES = {"C": 4, "N": 3, "O": 2, "F": 1}
_MAX_RINGS = 2
_SMALL_RING = 4
_HETERO = ("N", "O", "F")


class EnumeratedSource(Spec):
    """All small molecules of C, N, O, F and H, enumerated by valence rules."""

    kind: Literal["enumerated"] = Field(
        default="enumerated", description="molecules that the project makes by valence rules"
    )
    algorithm: Literal[1] = Field(
        default=1, description="version of the numbers that this step gives"
    )
    heavy_atoms: int = Field(
        default=5, ge=1, le=7, description="largest number of atoms other than hydrogen (atoms)"
    )
    elements: tuple[Literal["C", "N", "O", "F"], ...] = Field(
        default=("C", "N", "O", "F"), min_length=1, description="elements beside hydrogen (symbols)"
    )
    seed: int = Field(default=0, ge=0, le=2**31 - 1, description="seed of the embedding")

    @field_validator("elements")
    @classmethod
    def _each_once(cls, symbols: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(symbols)) != len(symbols):
            raise ValueError(f"{', '.join(symbols)}: an element occurs twice")
        return symbols


def read_enumerated(spec: EnumeratedSource) -> Iterator[MoleculeCandidate]:
    """Yield the molecules, small ones first.

    ``source_id`` is the formula with a number, by SMILES in alphabetical order: a larger
    ``heavy_atoms`` changes no name.

    Raises:
        EngineError: RDKit is not installed.
    """
    require_rdkit("enumerated")
    return _candidates(spec)


def _candidates(spec: EnumeratedSource) -> Iterator[MoleculeCandidate]:
    from rdkit.Chem.rdMolDescriptors import CalcMolFormula

    for molecules in enumerate_molecules(spec.heavy_atoms, spec.elements):
        numbers: dict[str, int] = defaultdict(int)
        for smiles in sorted(molecules):
            formula = CalcMolFormula(molecules[smiles])
            numbers[formula] += 1
            source_id = f"{formula}-{numbers[formula]}"
            yield attempt_molecule(source_id, embedded, source_id, smiles, spec.seed)


def enumerate_molecules(heavy_atoms: int, elements: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """For 1, 2 … heavy atoms, the RDKit molecules that the rules let pass, by canonical SMILES."""
    skeletons = _distinct(_atom(symbol) for symbol in elements)
    for size in range(1, heavy_atoms + 1):
        if size > 1:
            skeletons = _distinct(
                grown for molecule in skeletons.values() for grown in _grown(molecule, elements)
            )
        found = dict(skeletons)
        newest = skeletons
        while newest:
            bound = _distinct(
                more for molecule in newest.values() for more in _bonds_added(molecule)
            )
            newest = {smiles: m for smiles, m in bound.items() if smiles not in found}
            found |= newest
        yield {smiles: m for smiles, m in found.items() if _is_sensible(m)}


def _atom(symbol: str) -> Any:
    from rdkit import Chem

    return Chem.MolFromSmiles(symbol)


def _distinct(molecules: Iterator[Any]) -> dict[str, Any]:
    """Molecules by canonical SMILES, the first of each."""
    from rdkit import Chem

    found: dict[str, Any] = {}
    for molecule in molecules:
        Chem.SanitizeMol(molecule)
        found.setdefault(Chem.MolToSmiles(molecule), molecule)
    return found


def _grown(molecule: Any, elements: tuple[str, ...]) -> Iterator[Any]:
    """With one more atom, by a single bond, in every allowed place."""
    from rdkit import Chem

    for atom in molecule.GetAtoms():
        if atom.GetTotalNumHs() == 0:
            continue
        for symbol in elements:
            if _may_bind(atom.GetSymbol(), symbol):
                grown = Chem.RWMol(molecule)
                place = grown.AddAtom(Chem.Atom(symbol))
                grown.AddBond(atom.GetIdx(), place, Chem.BondType.SINGLE)
                yield grown


def _may_bind(one: str, other: str) -> bool:
    pair = {one, other}
    return pair != {"O"} and not ("F" in pair and pair != {"F", "C"})


def _bonds_added(molecule: Any) -> Iterator[Any]:
    """With one bond more, new or made double or triple, between every two atoms that allow it."""
    from rdkit import Chem

    higher = {1.0: Chem.BondType.DOUBLE, 2.0: Chem.BondType.TRIPLE}
    plain = Chem.RWMol(molecule)
    Chem.Kekulize(plain, clearAromaticFlags=True)
    free = [atom.GetIdx() for atom in plain.GetAtoms() if atom.GetTotalNumHs() > 0]
    rings = plain.GetNumBonds() - plain.GetNumAtoms() + 1
    symbols = [atom.GetSymbol() for atom in plain.GetAtoms()]
    for place, first in enumerate(free):
        for second in free[place + 1 :]:
            bond = plain.GetBondBetweenAtoms(first, second)
            more = Chem.RWMol(plain)
            if bond is None:
                if rings == _MAX_RINGS or not _may_bind(symbols[first], symbols[second]):
                    continue
                more.AddBond(first, second, Chem.BondType.SINGLE)
            elif bond.GetBondTypeAsDouble() in higher:
                raised = more.GetBondBetweenAtoms(first, second)
                raised.SetBondType(higher[bond.GetBondTypeAsDouble()])
            else:
                continue
            yield more


def _is_sensible(molecule: Any) -> bool:
    """Whether the rules that look at the whole molecule let it pass."""
    from rdkit import Chem

    plain = Chem.RWMol(molecule)
    Chem.Kekulize(plain, clearAromaticFlags=True)
    return (
        not _has_three_in_a_row(plain)
        and all(_bonds_of_order(atom, 2.0) < 2 for atom in plain.GetAtoms())
        and _has_sensible_rings(plain)
        and all(_keeps_its_hydrogen(atom) for atom in molecule.GetAtoms())
    )


def _has_three_in_a_row(plain: Any) -> bool:
    """Whether an N or O has two neighbours among N and O."""
    return any(
        atom.GetSymbol() in _HETERO and _n_neighbours(atom, ("N", "O")) > 1
        for atom in plain.GetAtoms()
    )


def _n_neighbours(atom: Any, symbols: tuple[str, ...]) -> int:
    return sum(neighbour.GetSymbol() in symbols for neighbour in atom.GetNeighbors())


def _bonds_of_order(atom: Any, order: float) -> int:
    return sum(bond.GetBondTypeAsDouble() == order for bond in atom.GetBonds())


def _has_sensible_rings(plain: Any) -> bool:
    rings = plain.GetRingInfo()
    for bond in plain.GetBonds():
        place, order = bond.GetIdx(), bond.GetBondTypeAsDouble()
        if rings.NumBondRings(place) == 0 or order == 1.0:
            continue
        if order == 3.0 or rings.MinBondRingSize(place) <= _SMALL_RING:
            return False
    return True


def _keeps_its_hydrogen(atom: Any) -> bool:
    """Whether no carbon beside an OH or NH makes it a group that rearranges or falls apart."""
    if atom.GetSymbol() not in ("N", "O") or atom.GetTotalNumHs() == 0:
        return True
    return not any(_is_loose(carbon, atom.GetSymbol()) for carbon in atom.GetNeighbors())


def _is_loose(carbon: Any, carried: str) -> bool:
    """Whether a carbon that carries OH or NH, of the element ``carried``, does not keep it."""
    if carbon.GetSymbol() != "C" or carbon.GetIsAromatic():
        return False
    orders = {
        (bond.GetOtherAtom(carbon).GetSymbol(), bond.GetBondTypeAsDouble())
        for bond in carbon.GetBonds()
    }
    tautomers = {("C", 2.0), ("C", 3.0)}
    if carried == "O":
        tautomers |= {("N", 2.0), ("N", 3.0)}
    if orders & tautomers:
        return True
    saturated = all(order == 1.0 for _, order in orders)
    return saturated and _n_neighbours(carbon, _HETERO) > 1
