"""The layers: the core can be used without Lightning and without Hydra, and no two files need each other."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import hardmine

PACKAGE = Path(hardmine.__file__).parent
EDGES = {"data", "tasks", "adapters", "callbacks", "report", "explore", "cli", "__main__"}
FILES = sorted(PACKAGE.rglob("*.py"))

Import = ast.Import | ast.ImportFrom


def name_of(path: Path) -> str:
    """`hardmine.judge.gates`, and `hardmine.judge` of its `__init__.py`."""
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


MODULES = {name_of(path): path for path in FILES}


def layer(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


CORE = [module for module in MODULES if layer(module) not in EDGES]


def imports(module: str, functions: bool = False) -> Iterator[Import]:
    """What a module imports when it is imported itself, and in its functions too; not what is for type checkers."""

    def inside(node: ast.AST) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, Import):
                yield child
            elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                yield from inside(ast.Module(child.orelse, []))
            elif functions or not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                yield from inside(child)

    yield from inside(ast.parse(MODULES[module].read_text()))


def libraries(nodes: Iterator[Import]) -> set[str]:
    """Names of what is imported, without what is inside it."""
    names: set[str] = set()
    for node in nodes:
        found = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
        names |= {name.split(".")[0] for name in found}
    return names


def needed(nodes: Iterator[Import]) -> set[str]:
    """Modules of hardmine that are imported: the file that each name comes from."""
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        else:
            assert node.level == 0, "relative imports"
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {name if name in MODULES else str(node.module) for name in inside}
    return names & MODULES.keys()


@pytest.mark.parametrize("module", CORE)
def test_frameworks_stay_at_the_edge(module: str) -> None:
    """`mining.py` may name Lightning's types."""
    assert not libraries(imports(module, functions=True)) & {"lightning", "pytorch_lightning", "hydra"}


@pytest.mark.parametrize("module", [module for module in MODULES if layer(module) != "cli"])
def test_the_config_stays_in_the_command_line(module: str) -> None:
    found = libraries(imports(module, functions=True))
    assert "hydra" not in found
    assert "omegaconf" not in found or module in ("hardmine.runs", "hardmine.frozen")
    assert "omegaconf" not in libraries(imports(module))


@pytest.mark.parametrize("module", CORE)
def test_the_core_needs_nothing_of_the_edge(module: str) -> None:
    assert not {other for other in needed(imports(module)) if layer(other) in EDGES}


def test_imports_make_no_circle() -> None:
    """Between files; importing `a.b` runs the `__init__.py` of `a` as well, which may name what is inside it."""
    graph = {module: needed(imports(module)) - {module} for module in MODULES}
    assert sum(map(len, graph.values())) > len(MODULES)  # something is looked at
    TopologicalSorter(graph).prepare()  # raises where there is a circle


def test_the_core_loads_neither() -> None:
    core = ", ".join(CORE)
    code = f"import sys, {core}; print({{'lightning', 'hydra', 'omegaconf'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_each_module_can_be_imported_first() -> None:
    """Whatever was imported before it may hide a circle."""
    code = f"""
import importlib, sys
for module in {[*MODULES]}:
    for known in [name for name in sys.modules if name.split(".")[0] == "hardmine"]:
        del sys.modules[known]
    importlib.import_module(module)
    print(module)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [*MODULES]
