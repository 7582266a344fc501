"""`hardmine data`: what is in a folder, before anything is trained on it."""

from pathlib import Path
from typing import Any

from hardmine.cli.config import key_of, look_at, with_root
from hardmine.cli.paths import at_home, path_of, with_paths
from hardmine.errors import InputError
from hardmine.files import trouble

_USE = "use hardmine data PATH, or hardmine data data=pairs data.images=GLOB data.labels=GLOB ..."
_SHEET = "data.png"
_OPEN = ("data.classes=[NAME,...]", "data.val=0.1")  # what no folder says
_SHIFTED = ("data.pattern=(?P<time>day|night)", "data.shifted={time: night}", "data.target=0.2")
_TASKS = {
    "masks": (),
    "classes": ("task=classification", "model=resnet18", "scoring=confidence"),
    "boxes": ("task=detection", "model=fcos", "scoring=mean_reliability"),
}


def command(arguments: list[str]) -> None:
    """Look at all files, print what was found, and write a sheet of samples."""
    from rich.console import Console

    from hardmine.data.survey import Survey
    from hardmine.report.found import tables
    from hardmine.report.table import print_table

    places = [argument for argument in arguments if "=" not in argument]
    sheets = [path_of(argument) for argument in arguments if key_of(argument) == "sheet"]
    given = [argument for argument in arguments if "=" in argument and key_of(argument) != "sheet"]
    if len(places) > 1 or not (places or given) or any(place.startswith("-") for place in places):
        raise InputError(f"data: {_USE}")
    strange = [argument for argument in given if key_of(argument).split(".")[0] not in ("data", "seed", "predictor")]
    if strange:
        raise InputError(f"data: {strange[0]}: it takes keys of data alone: {_USE}")
    sheet = sheets[-1] if sheets else _SHEET
    if sheet != "null":
        _look_at_sheet(Path(sheet))
    console = Console()
    chosen = [*(_layout(Path(at_home(places[0])), given) if places else []), *given]
    data = data_of(chosen)
    survey = Survey.of(data, tiled=tiled(chosen))
    for table in tables(survey):
        print_table(console, table)
    for line in survey.odd or ["nothing is odd"]:
        console.print(f"- {line}" if survey.odd else line, soft_wrap=True, markup=False, highlight=False)
    train = " ".join(map(_shell, [*chosen, *_TASKS[data.kind]]))
    console.print(f"train on it: hardmine train {train}", soft_wrap=True, markup=False, highlight=False)
    if sheet != "null":
        _write_sheet(Path(sheet), data, places[0] if places else "data")
        console.print(f"samples: {sheet}", soft_wrap=True, markup=False, highlight=False)


def _layout(root: Path, given: list[str]) -> list[str]:
    """What reads a folder.

    Raises:
        InputError: nothing does.
    """
    from hardmine.data.recognised import pairs_in, recognised, told

    if why := trouble(root, folder=True):
        raise InputError(f"data: {root}: {why}: name the folder of a data set")
    keys = {key_of(argument) for argument in given}
    if {"data", "data.images"} & keys:
        return [f"data.root={root}"]
    if found := recognised(root):
        return found
    for line in told(root):
        print(line)
    if pairs := pairs_in(root):
        needed = [each for each in _OPEN if key_of(each) not in keys]
        print(f"\nNearest: hardmine data {' '.join(map(_shell, [*pairs, *needed, *given]))}")
        if "data.shifted" not in keys:
            print(f"Then say which images are of the light that you train for, as {' '.join(map(_shell, _SHIFTED))}")
    raise InputError(f"data: {root}: fits no layout: what it has, and what would fit, is told above")


def data_of(arguments: list[str]) -> Any:
    """The data that a run with these arguments has."""
    from hydra import compose, initialize_config_dir
    from hydra.utils import instantiate

    from hardmine.cli import config_folder
    from hardmine.cli.blocks import look_at_groups
    from hardmine.cli.build import build_predictor
    from hardmine.cli.config import BAD
    from hardmine.cli.explain import explain

    values = with_paths(with_root(arguments), False)
    look_at_groups({key_of(each): each.split("=", 1)[1] for each in values if "=" in each})
    try:
        with initialize_config_dir(str(config_folder().resolve()), version_base="1.3"):
            cfg = compose("train", [*values, "run_dir=."])
        look_at(cfg)
        more = {"predictor": build_predictor(cfg)} if cfg.data.get("regions") == "predicted" else {}
        if "tiles" in cfg.data:
            cfg.data.tiles = False  # whole images are looked at
        return instantiate(cfg.data, _convert_="all", flip=False, **more)
    except BAD as error:
        raise InputError(explain(error, "hardmine train")) from None


def tiled(arguments: list[str]) -> bool:
    """Whether training cuts the images in tiles."""
    said = [path_of(argument) for argument in arguments if key_of(argument) == "data.tiles"]
    return said[-1:] == ["true"]


def _look_at_sheet(path: Path) -> None:
    if path.suffix.lower() != ".png" or path.is_dir():
        raise InputError(f"sheet: {path}: names no picture: set sheet=FILE.png, or sheet=null for none")
    if why := trouble(path.parent, folder=True):
        raise InputError(f"sheet: {path.parent}: {why}: name another folder")


def _write_sheet(path: Path, data: Any, what: str) -> None:
    from PIL import Image

    from hardmine.data.metadata import SPLITS
    from hardmine.files import write_atomically
    from hardmine.report.samples import samples

    splits = {split: data.split(split) for split in SPLITS if data.has(split)}
    picture = Image.fromarray(samples(splits, f"{what}: images and their areas, as they are read"))
    write_atomically(path, lambda file: picture.save(file, "PNG"))


def _shell(argument: str) -> str:
    import shlex

    return shlex.quote(argument)
