"""From bonds to positions: RDKit's ETKDGv3 with a fixed seed, then the force field MMFF94.

Such a geometry is one conformer near a minimum of the force field, not of the density functional:
bond lengths differ by about 0.01 to 0.02 Å. ETKDGv3: Wang et al., J. Chem. Inf. Model. 60, 2044
(2020); MMFF94: Halgren, J. Comput. Chem. 17, 490 (1996).
"""

from typing import Any

from rhoflow.structures.molecule_candidates import Reading, build_molecule
from rhoflow.structures.reading import one_line

_MAX_ATOMS = 300
_MAX_STEPS = 5000


def embedded(source_id: str, smiles: str, seed: int) -> Reading:
    """The molecule that a SMILES names, with hydrogen atoms and positions.

    Args:
        source_id: its name.
        smiles: one molecule without open bonds.
        seed: of the embedding.

    Raises:
        ValueError: it is no SMILES of one molecule, or neither step finds a geometry.
    """
    from rdkit import Chem
    from rdkit.rdBase import BlockLogs

    with BlockLogs():
        bonds = _parsed(smiles)
        atoms = Chem.AddHs(bonds)
        if atoms.GetNumAtoms() > _MAX_ATOMS:
            raise ValueError(f"{atoms.GetNumAtoms()} atoms, more than {_MAX_ATOMS} to embed")
        _place(atoms, seed)
    molecule = build_molecule(
        source_id,
        [atom.GetSymbol() for atom in atoms.GetAtoms()],
        atoms.GetConformer().GetPositions(),
        charge=Chem.GetFormalCharge(atoms),
        smiles=Chem.MolToSmiles(bonds),
    )
    return molecule, {}


def _parsed(smiles: str) -> Any:
    from rdkit import Chem

    bonds = Chem.MolFromSmiles(smiles)
    if bonds is None or bonds.GetNumAtoms() == 0:
        raise ValueError(f"'{one_line(smiles, 60)}' is no valid SMILES")
    if len(Chem.GetMolFrags(bonds)) > 1:
        raise ValueError(f"'{one_line(smiles, 60)}' names several molecules, expected one")
    if any(atom.GetAtomicNum() == 0 for atom in bonds.GetAtoms()):
        raise ValueError(f"'{one_line(smiles, 60)}' has an open bond")
    return bonds


def _place(atoms: Any, seed: int) -> None:
    """Give a molecule a conformer."""
    from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

    parameters = rdDistGeom.ETKDGv3()
    parameters.randomSeed = seed
    if rdDistGeom.EmbedMolecule(atoms, parameters) != 0:
        parameters.useRandomCoords = True
        if rdDistGeom.EmbedMolecule(atoms, parameters) != 0:
            raise ValueError("ETKDGv3 finds no positions for it")
    if not rdForceFieldHelpers.MMFFHasAllMoleculeParams(atoms):
        raise ValueError("MMFF94 has no parameters for it")
    if rdForceFieldHelpers.MMFFOptimizeMolecule(atoms, maxIters=_MAX_STEPS) != 0:
        raise ValueError(f"MMFF94 finds no minimum within {_MAX_STEPS} steps")
