"""What the README shows works as it stands there."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import TypeAdapter

from rhoflow.arms import ArmSpec
from rhoflow.dft.registry import EngineSpec
from rhoflow.structures.molecule_select import MoleculeSelectionSpec
from rhoflow.structures.molecule_sources import MoleculeSourceSpec
from rhoflow.structures.select import SelectionSpec
from rhoflow.structures.sources import SourceSpec

ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
ADAPTERS = {
    "source": TypeAdapter(SourceSpec | MoleculeSourceSpec),
    "selection": TypeAdapter(SelectionSpec | MoleculeSelectionSpec),
    "engines": TypeAdapter(dict[str, EngineSpec]),
    "arms": TypeAdapter(dict[str, ArmSpec]),
}


def entries(text: str) -> list[tuple[str, Any]]:
    """Sources, selections, engines and arms of a block; a block may show several sources."""
    alone = text.startswith("    source:")
    parts = re.split(r"\n(?=    source:)", "\n" + text)[1:] if alone else [text]
    found = []
    for part in parts:
        node = yaml.safe_load(part) or {}
        sets = {**node.get("datasets", {}), **node.get("molecules", {})}
        nodes = [node, *sets.values()]
        found += [(key, n[key]) for n in nodes if n for key in ADAPTERS if key in n]
    return found


@pytest.mark.parametrize("text", BLOCKS)
def test_every_config_of_the_readme_is_valid(text):
    found = entries(text)
    assert found
    for key, value in found:
        ADAPTERS[key].validate_python(value)


def test_every_kind_of_source_and_engine_is_shown():
    shown = {str(v["kind"]) for t in BLOCKS for k, v in entries(t) if k == "source"}
    assert {"files", "icsd", "optimade", "materials_project", "table", "outputs"} <= shown
    assert {"xyz", "enumerated", "qm9"} <= shown
