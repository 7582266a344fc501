"""The pages: every block of code is run, or composed where a run would take long; every link leads somewhere."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from conftest import RIVERSIDE, TINY, UNET, make_images
from hydra import compose, initialize_config_dir
from keys import reference
from omegaconf import OmegaConf
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import hardmine
from hardmine.cli import COMMANDS, COMPOSED, config_folder, main
from hardmine.cli.config import look_at, with_end, with_root
from hardmine.cli.flags import parted
from hardmine.cli.help import ABOUT
from hardmine.cli.keys import PRIMARY, defaults, groups, own_keys
from hardmine.cli.paths import with_paths
from hardmine.store import ParameterStore

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted(path for path in (ROOT / "docs").rglob("*.md") if "_build" not in path.parts)]
FENCE = re.compile(r"^```([^\n`]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
OTHERS = ("git", "cd", ".ci/run", "tensorboard")  # programs that are not ours to try


def blocks(page: Path, language: str) -> list[str]:
    return [code for name, code in FENCE.findall(page.read_text()) if name == language]


def words(line: str) -> list[str]:
    """The words of a line of a shell, without the launcher before `hardmine` and without what is optional."""
    line = re.sub(r'^eval "\$\((.*)\)"$', r"\1", re.sub(r" \[[\w.]+=[^ ]*\]", "", line))
    each = shlex.split(line, comments=True)
    return each[each.index("hardmine") :] if "hardmine" in each and each[0] in ("torchrun", "srun") else each


LINES = {
    f"{page.relative_to(ROOT)}: {line}": words(line)
    for page in PAGES
    for code in blocks(page, "sh")
    for line in code.splitlines()
}
LINES.update({f"--help: {line}": words(line) for _, examples in ABOUT.values() for line in examples})
OURS = {name: each[1:] for name, each in LINES.items() if each[0] == "hardmine"}
OURS.update({name: ["train", *each[1:]] for name, each in LINES.items() if each[0] == "scripts/train"})
SHORT = {name: each for name, each in OURS.items() if each[0] not in (*COMPOSED, "-sc")}


def test_the_first_page_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


def test_the_version_is_told_alike() -> None:
    cited = OmegaConf.load(ROOT / "docs/CITATION.cff")
    assert {"cff-version", "message", "title", "authors"} <= set(cited)
    assert cited.version == hardmine.__version__
    assert f"\n## {hardmine.__version__}" in (ROOT / "docs/CHANGELOG.md").read_text()


def test_blocks_say_their_language() -> None:
    """What has none is neither run nor looked at: layouts of folders, not commands."""
    for page in PAGES:
        languages = {name for name, _ in FENCE.findall(page.read_text())}
        assert {name for name in languages if not name.startswith("{")} <= {"sh", "python", "text", "yaml"}, page
        indented = re.findall(r"^ {4,}(?:hardmine|scripts/\w+|import|\.venv)\b.*", page.read_text(), re.MULTILINE)
        assert not indented, page


@pytest.mark.parametrize("name", [name for name, each in LINES.items() if each[0] not in ("hardmine", "eval", *OTHERS)])
def test_scripts_are_there(name: str) -> None:
    assert os.access(ROOT / LINES[name][0], os.X_OK)


@pytest.mark.parametrize("name", [name for name, each in OURS.items() if {*COMPOSED} & set(each)])
def test_arguments_compose(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """Keys, options and the types of their values."""
    monkeypatch.chdir(tmp_path)
    command, *arguments = OURS[name]
    if "--help" in arguments:
        main([command, *arguments])
        assert capsys.readouterr().out
    elif command == "sweep":
        sweep_is_good(arguments)
    else:
        given = parted(arguments)
        values = [each for each in given.values if each != "RUN_FOLDER"] if command == "explore" else given.values
        values = with_paths(with_root(values), given.sweep)
        values = with_end(values) if command == "train" else values
        for one in combinations(values) if given.sweep else [values]:
            with initialize_config_dir(str(config_folder()), version_base="1.3"):
                look_at(compose(command, [*one, "run_dir=run"]))


def combinations(values: list[str]) -> list[list[str]]:
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
    from hydra.core.override_parser.overrides_parser import OverridesParser

    batches = BasicSweeper.split_arguments(OverridesParser.create().parse_overrides(values), None)
    return [list(each) for batch in batches for each in batch]


def sweep_is_good(arguments: list[str]) -> None:
    from hardmine.cli.study import read_space
    from hardmine.cli.sweep import _look, _settings

    if arguments[0] == "report":
        assert {each.split("=")[0] for each in arguments[2:]} <= {"metric", "direction"}
        return
    fixed, space = read_space(_settings(arguments)[1])
    assert space and _look(fixed, space)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two runs below `outputs/`, `sweep`, a sweep of one, and `photos`, a data set."""
    root = tmp_path_factory.mktemp("runs")
    few = [*RIVERSIDE, *UNET, *(each for each in TINY if each != "report=false")]
    main(["train", *few, f"hydra.run.dir={root}/outputs/one"])
    shutil.copytree(root / "outputs/one", root / "outputs/two")
    main(["export", f"run={root}/outputs/one", f"out={root}/photos"])
    shutil.copytree(root / "outputs/one", root / "sweep/0")
    (root / "sweep/multirun.yaml").touch()
    return root


@pytest.mark.parametrize("name", SHORT)
def test_quick_commands_run(name: str, runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(runs)
    real = {"RUN_FOLDER_2": "outputs/two", "ANOTHER": "outputs/two", "RUN_FOLDER": "outputs/one", "PATH": "photos"}
    real["SWEEP_FOLDER"] = "sweep"
    real |= {"FOLDER": "outputs" if SHORT[name][0] == "runs" else "exported", "PACKAGE": "torch"}
    arguments = [re.sub(r"\b(" + "|".join(real) + r")\b", lambda found: real[found[1]], each) for each in SHORT[name]]
    for made in ("exported", "hard"):
        shutil.rmtree(made, ignore_errors=True)
    for made in ("night.parquet", "night.db"):
        Path(made).unlink(missing_ok=True)
    main(arguments)
    assert capsys.readouterr().out


class Photographs(Dataset[dict[str, Tensor]]):
    """Somebody's images and label maps; `normalised` as many networks want them."""

    def __init__(self, normalised: bool) -> None:
        self.image, self.mask = make_images(batch=8, size=(16, 16))
        self.normalised = normalised

    def __len__(self) -> int:
        return len(self.image)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        image = self.image[index] / 255
        if self.normalised:
            mean, std = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])[..., None, None]
            image = (image - mean) / std
        return {"image": image, "mask": self.mask[index].long()}


class Somewhere(L.LightningDataModule):
    def train_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        return DataLoader(Photographs(normalised=False), batch_size=4, shuffle=True)


class Somebodys(L.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Conv2d(3, 3, 1)

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.net(image)
        return logits

    def training_step(self, batch: dict[str, Tensor], batch_idx: int = 0) -> Tensor:
        return nn.functional.cross_entropy(self(batch["image"]), batch["mask"], ignore_index=255)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.01)


@pytest.fixture
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What stands before the examples in a project of somebody's, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    module = Somebodys()
    optimiser, losses = module.configure_optimizers(), []

    def train_on(batch: dict[str, Tensor]) -> None:
        loss = module.training_step(batch)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(float(loss.detach()))

    night = DataLoader(Photographs(normalised=False), batch_size=4)
    areas = ["sky", "road", "tree"]
    ParameterStore.from_loader(night, hardmine.View(), areas=areas).save(tmp_path / "night.parquet")
    names: dict[str, Any] = {"hardmine": hardmine, "DataLoader": DataLoader, "night_loader": night, "loader": night}
    names.update(module=module, model=module, datamodule=Somewhere(), train_on=train_on, losses=losses)
    return {**names, "dataset": Photographs(normalised=True)}


def run_blocks(page: str, names: dict[str, Any], change: Callable[[str], str] = lambda code: code) -> None:
    for code in blocks(ROOT / page, "python"):
        exec(change(code), names)


def shorter(code: str) -> str:
    return code.replace("max_steps=400", "max_steps=110")


def test_the_lines_of_the_first_page_mine(surroundings: dict[str, Any]) -> None:
    run_blocks("README.md", surroundings, shorter)
    mining = surroundings["mining"]
    assert mining.step == 110
    assert mining.tally.candidates == 10 * 4 and mining.tally.pieces > 0


def test_the_page_on_ones_own_project(surroundings: dict[str, Any]) -> None:
    run_blocks("docs/howto/own-project.md", surroundings, shorter)
    assert surroundings["trainer"].global_step == 110
    assert surroundings["mining"].step == len(surroundings["losses"]) == 1
    assert surroundings["mining"].view.kind == "masks"


def test_the_page_on_evaluation(surroundings: dict[str, Any]) -> None:
    run_blocks("docs/howto/evaluate.md", surroundings)
    assert surroundings["found"].table.num_rows


def test_the_page_on_run_folders(surroundings: dict[str, Any], runs: Path) -> None:
    run_blocks(
        "docs/reference/run-folder.md", surroundings, lambda code: code.replace("RUN_FOLDER", str(runs / "outputs/one"))
    )
    assert surroundings["ledger"].num_rows and len(surroundings["store"])


def test_the_page_on_exports() -> None:
    """Readers of others, which need not be installed; `test_export` reads what is written."""
    for code in blocks(ROOT / "docs/howto/export.md", "python"):
        compile(code, "export.md", "exec")


def test_no_page_with_python_is_left_out() -> None:
    tried = {
        "README.md",
        "docs/howto/export.md",
        "docs/howto/own-project.md",
        "docs/howto/evaluate.md",
        "docs/reference/run-folder.md",
    }
    assert {str(page.relative_to(ROOT)) for page in PAGES if blocks(page, "python")} == tried


@cache
def text_of(page: Path) -> str:
    """What the site makes a page of."""
    return page.read_text() + (reference() if page.name == "config.md" else "")


@cache
def anchors(page: Path) -> set[str]:
    """Of the headings of a page, as GitHub and the site make them."""
    text = text_of(page)
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", text_of(page))):
        assert "://" not in link, link  # nothing of these pages lies elsewhere
        path, _, anchor = link.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.is_file(), link
        assert not anchor or anchor in anchors(there), link


def test_every_key_says_what_it_is() -> None:
    """In the help and the reference alike; what refers to another key is told there, and blocks by what is in them."""
    silent = [f"{file.path}: about" for files in groups().values() for file in files if not file.about]
    silent += [
        f"{file.path}: {key.name}"
        for group, files in groups().items()
        if group not in ("experiment", "sweeper")
        for file in files
        for key in file.keys
        if key.value and not key.comment and not key.value.startswith("${") and not key.name.endswith("_target_")
    ]
    silent += [
        f"{path}: {key.name}"
        for path in PRIMARY
        for key in own_keys(path)
        if not key.comment and not key.name.endswith("_target_")
    ]
    assert not silent
    assert {group: default.purpose != "" for group, default in defaults().items()} == dict.fromkeys(groups(), True)


def test_the_reference_has_every_key() -> None:
    """As OmegaConf reads the files, but for blocks, whose keys are told."""
    text = reference()
    for path in PRIMARY:
        for name in flat(path):
            assert name.startswith("hydra.") or f"| `{name}` |" in text, name
    for group, files in groups().items():
        for file in files if group not in ("experiment", "sweeper") else ():
            section = re.split(r"\n###? ", text.split(f"\n### {group}={file.path.stem}\n")[1])[0]
            for name in flat(f"{group}/{file.path.stem}"):
                assert f"| `{file.package}.{name}` |" in section, (file.path, name)


def flat(path: str) -> list[str]:
    """Dotted names of the keys of a config file that hold a value."""

    def inside(plain: Any, above: str) -> Iterator[str]:
        for name, value in plain.items():
            if isinstance(value, dict) and value and name != "counts":
                yield from inside(value, f"{above}{name}.")
            elif name not in ("_target_", "defaults"):
                yield f"{above}{name}"

    return list(inside(OmegaConf.to_container(OmegaConf.load(config_folder() / f"{path}.yaml"), resolve=False), ""))


def test_the_reference_has_every_public_name() -> None:
    told = re.findall(r"^\.\. auto\w+:: hardmine\.(\w+)$", (ROOT / "docs/reference/api.md").read_text(), re.MULTILINE)
    assert sorted(told) == vars(hardmine)["__all__"]


def test_every_page_is_in_the_contents() -> None:
    listed = re.findall(
        r"^[\w/-]+$", "".join(code for name, code in FENCE.findall((ROOT / "docs/index.md").read_text())), re.M
    )
    pages = {str(page.relative_to(ROOT / "docs").with_suffix("")) for page in PAGES[1:]}
    assert set(listed) == pages - {"index"}


@pytest.mark.skipif(find_spec("sphinx") is None, reason="scripts/docs sets up what builds the pages")
def test_the_site_builds_and_asks_no_other_host(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--quiet", "-b", "html", "docs", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for page in tmp_path.rglob("*.html"):
        loaded = re.findall(r"<(?:script|img|link)\b[^>]*(?:src|href)=\"(\w+:)?//[^\"]*\"", page.read_text())
        assert not loaded, page


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_examples(command: str, capsys: Any) -> None:
    main([command, "--help"])
    out = capsys.readouterr().out
    assert out.startswith(f"hardmine {command} ")
    assert all(example in out for example in ABOUT[command][1])


def test_help_says_what_each_option_is_for(capsys: Any) -> None:
    main(["train", "--help"])
    out = " ".join(capsys.readouterr().out.split())
    assert "neighbourhood where a search goes from a hard parameter" in out
    assert "blend * Light between the hard one and stored ones closer than the radius (Expr. 3 or 4)" in out
    assert "mining. The search: what counts as hard" in out and "seed=0 of weights" in out


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("mining", "mining:\n  _target_: hardmine.Mining\n  threshold: auto        # Th1: recognition accuracy"),
        ("neighbourhood", "neighbourhood=select\n  # An unused stored point closer than the radius"),
        ("gate=teacher", "gate=teacher\n  # A moving average"),
        ("mining.start=50", "mining.start=100\n    optimiser steps of plain training before mining starts\n"),
        ("task.lr", "task.lr=1.0e-3\n    learning rate of AdamW"),
        ("store.path", "of store=file"),
        ("callbacks.best", "callbacks.best.save_top_k=3\n    checkpoints kept"),
    ],
)
def test_help_on_one_thing(asked: str, told: str, capsys: Any) -> None:
    main(["train", "--help", asked])
    assert told in capsys.readouterr().out


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("minnig", "minnig: no such group, block or config key (did you mean `mining`?): see hardmine train --help"),
        ("lr", "lr: no such group, block or config key (did you mean `task.lr`?): see hardmine train --help"),
        ("gate=x", "gate=x: no such option: take one of all, limits, none, teacher"),
    ],
)
def test_help_on_nothing(asked: str, told: str, capsys: Any) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["train", "--help", asked])
    assert caught.value.code == 2
    assert capsys.readouterr().err == f"hardmine: error: {told}\n"


def test_help_waits_for_no_library() -> None:
    code = (
        "import sys; from hardmine.cli import main; main(['train', '--help']); main(['mine', '--help', 'search']); "
        "print(sorted({'torch', 'lightning', 'hydra', 'omegaconf', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("hardmine tr", ["train"]),
        ("hardmine ", list(COMMANDS)),
        ("hardmine train gate=", ["gate=all", "gate=limits", "gate=none", "gate=teacher"]),
        ("hardmine mine search.e", ["search.easy="]),
        ("hardmine sweep neighbourhood=s", ["neighbourhood=same_cell", "neighbourhood=select"]),
        ("hardmine runs ", []),
    ],
)
def test_completion(line: str, told: list[str], monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(sys, "argv", ["hardmine"])
    monkeypatch.setenv("COMP_LINE", line)
    main(["-sc", "query=bash"])
    assert capsys.readouterr().out.split() == told


def test_completion_is_of_the_program(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(sys, "argv", ["hardmine"])
    for arguments in (["-sc", "install=bash"], ["train", "-sc", "install=bash"]):
        main(arguments)
        assert capsys.readouterr().out.rstrip().endswith("-F hydra_bash_completion hardmine")
