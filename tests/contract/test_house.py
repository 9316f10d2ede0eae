"""The house rules that a machine can check: floors, names, generated files, pins."""

import ast
import re
import tomllib
from pathlib import Path
from typing import get_args

import pytest
import yaml

from rhoflow import __version__, reference
from rhoflow.study import FigureName

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "workflow" / "rhoflow"

# From the ground up; a module imports from lower floors or from its own room.
FLOORS = [
    {
        "arms",
        "config_errors",
        "crystal",
        "density",
        "errors",
        "evaluation",
        "molecule",
        "processes",
        "properties",
        "slurm",
        "spec",
        "training",
        "wells",
    },
    {"descriptors", "tables", "vasp"},
    {"io", "molecule_tables"},
    {"checkpoints", "dft", "figures", "models", "structures"},
    {"costs", "jobs", "status", "study"},
    {"datasets"},
    {"config"},
    {"reference"},
]
FLOOR = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}


def room_of(module: str) -> str:
    return module.split(".")[1]


def imports(path: Path) -> set[str]:
    """Modules of the package that a file imports, at the top or inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{a.name}" for a in node.names}
    return {m for m in found if m.startswith("rhoflow.") and m != "rhoflow.__version__"}


def modules() -> list[Path]:
    return sorted(p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py")


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_run_down_the_floors(path):
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    for module in imports(path):
        other = room_of(module)
        assert other == room or FLOOR[other] < FLOOR[room] or FLOOR[room] == FLOOR[other] == 0, (
            f"{path.name} in {room} imports {module} from the same or a higher floor"
        )


def test_no_circle_on_the_ground_floor():
    """Rooms of the ground floor may use each other, in one direction."""
    needs = {room: set() for room in FLOORS[0]}
    for path in modules():
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if room in needs:
            needs[room] |= {room_of(m) for m in imports(path)} - {room}
    while needs:
        free = [room for room, used in needs.items() if not used & set(needs)]
        assert free, f"circle among {needs}"
        for room in free:
            del needs[room]


def test_the_package_knows_neither_snakemake_nor_results():
    for path in modules():
        text = path.read_text()
        assert not re.search(r"^\s*(import|from) snakemake", text, re.MULTILINE), path
        assert "results/" not in re.sub(r'"""[\s\S]*?"""|results/(dft|report)\b', "", text), path


def rules() -> dict[str, str]:
    """Rule name to its text, of every rule that runs a script."""
    found = {}
    for path in sorted((ROOT / "workflow" / "rules").glob("*.smk")):
        for block in re.split(r"\n(?=rule )", path.read_text()):
            match = re.match(r"rule (\w+):", block)
            if match and "script:" in block:
                found[match[1]] = block
    return found


def test_rule_script_log_and_benchmark_share_a_name():
    assert len(rules()) >= 12
    for name, text in rules().items():
        assert f'"../../scripts/{name}.py"' in text
        assert re.search(rf'log:\s+"results/logs/{name}[./]', text), name
        assert re.search(rf'benchmark:\s+"results/benchmarks/{name}[./]', text), name
        assert re.search(r"rule \w+:\s+\"\"\"", text), f"{name} has no docstring"
        assert "conda:" in text, name


def test_every_script_belongs_to_a_rule_and_is_thin():
    scripts = sorted((ROOT / "scripts").glob("*.py"))
    assert {p.stem for p in scripts} == set(rules())
    for path in scripts:
        text = path.read_text()
        assert text.startswith(f'"""Rule {path.stem}: ')
        assert "io.start_log(snakemake.log[0]" in text
        assert "snakemake.config" not in text
        assert "environ" not in text
        assert len(text.splitlines()) <= 40, path.name


def test_the_results_map_names_every_output_folder():
    text = (ROOT / "results" / "README.md").read_text()
    for name, block in rules().items():
        assert f"`{name}`" in text, f"results/README.md does not mention rule {name}"
        outputs = re.search(r"\n    output:(.*?)\n    \w+:", block, re.DOTALL)
        assert outputs
        for folder in re.findall(r'"(results/[a-z]+)', outputs[1]):
            assert folder.removeprefix("results/") in text


@pytest.mark.parametrize(
    ("path", "generate"),
    [
        ("config/README.md", reference.readme),
        ("workflow/schemas/config.schema.json", reference.schema),
    ],
)
def test_generated_files_are_up_to_date(path, generate):
    assert (ROOT / path).read_text() == generate(), f"{path} is out of date: run `make reference`"


def pins() -> dict[str, str]:
    lines = (ROOT / "envs" / "constraints.txt").read_text().splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {name.lower(): version for name, version in pairs}


def test_every_requirement_is_pinned():
    lines = (ROOT / "envs" / "requirements.txt").read_text().splitlines()
    names = [line.split("[")[0] for line in lines if line and not line.startswith("#")]
    assert {n.lower() for n in names} <= set(pins())


@pytest.mark.parametrize("name", ["core", "dft", "descriptors", "molecules", "torch"])
def test_conda_environments_hold_the_pinned_versions(name):
    environment = yaml.safe_load((ROOT / "envs" / f"{name}.yaml").read_text())
    listed = next(d["pip"] for d in environment["dependencies"] if isinstance(d, dict))
    assert listed
    for requirement in listed:
        package, version = requirement.split("==")
        assert pins()[package.lower()] == version


def test_the_compiled_engine_is_pinned_alike():
    text = (ROOT / "envs" / "dft.post-deploy.sh").read_text()
    for package in ("gpaw", "gpaw-data"):
        assert f"{package}=={pins()[package]}" in text


def test_the_snakefile_is_short():
    assert len((ROOT / "Snakefile").read_text().splitlines()) <= 60


def test_one_version_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert project["version"] == citation["version"] == __version__
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_captions_exist_for_every_figure():
    text = "".join(p.read_text() for p in (ROOT / "workflow" / "rules").glob("*.smk"))
    named = set(re.findall(r'caption="\.\./report/(\w+)\.rst"', text))
    assert named >= set(get_args(FigureName))
    assert named == {p.stem for p in (ROOT / "workflow" / "report").glob("*.rst")}
