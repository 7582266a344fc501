"""The core can be used without Lightning and without Hydra."""

import ast
import subprocess
import sys
from pathlib import Path

import hardmine

PACKAGE = Path(hardmine.__file__).parent
EDGES = {"data", "tasks", "callbacks", "report", "cli", "__main__.py"}


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


def test_frameworks_stay_at_the_edge() -> None:
    for path in PACKAGE.rglob("*.py"):
        names = imported(path)
        place = path.relative_to(PACKAGE)
        if place.parts[0] not in EDGES:
            assert not names & {"lightning", "pytorch_lightning"}, place
        if place.parts[0] != "cli":
            assert not names & {"hydra", "omegaconf"}, place


def test_the_core_loads_neither() -> None:
    code = (
        "import sys, hardmine.judge, hardmine.memory, hardmine.search; print({'lightning', 'hydra'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
