"""The wheel, away from the checkout: the configs travel inside it."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(out)]
    subprocess.run(command, cwd=CHECKOUT, check=True, capture_output=True)
    (path,) = out.glob("*.whl")
    return path


def test_holds_every_config_and_nothing_else_of_the_checkout(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    configs = {f"hardmine/conf/{path.relative_to(CHECKOUT / 'conf')}" for path in (CHECKOUT / "conf").rglob("*.yaml")}
    assert configs <= set(names)
    assert all(name.startswith(("hardmine/", "hardmine-")) for name in names)
    assert "hardmine/py.typed" in names


def test_trains_from_any_directory(wheel: Path, tmp_path: Path) -> None:
    """Unpacked where no checkout is; the packages it needs are this environment's."""
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    code = (
        f"import sys; sys.path.insert(0, {str(site)!r}); import hardmine.cli; "
        f"assert hardmine.cli.__file__.startswith({str(site)!r}); hardmine.cli.main()"
    )
    small = ["data.size=[32,32]", "data.counts={train: 8, val: 2, target: 8, test: 2}", "trainer.max_steps=1"]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", code, "train", *small, "mining.start=0"],
        cwd=elsewhere,
        env={**os.environ, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "leaked" not in done.stderr, done.stderr  # what nanobind says where modules are never collected
    assert "candidates" in done.stdout
    (summary,) = elsewhere.glob("outputs/*/*/summary.json")
    assert summary.stat().st_size > 100
