"""`hardmine data`: what is in a folder, before anything is trained on it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hardmine.cli.config import composed, key_of, look_at, with_root
from hardmine.cli.paths import at_home, path_of, with_paths
from hardmine.errors import InputError
from hardmine.files import trouble

_USE = "use hardmine data PATH, or hardmine data data=pairs data.images=GLOB data.labels=GLOB ..."
_SHEET = "data.png"
_PARTED = "data.val=0.1"  # where nothing says what is trained on
_OPEN = ("data.classes=[NAME,...]", _PARTED)  # what no folder says
_SHARE = "data.target=0.2"
_SHIFTED = ("data.pattern=(?P<time>day|night)", "data.shifted={time: night}", _SHARE)
_STRIDE = 32  # pixels: sides of masks are a multiple of it, as U-Net halves them five times
_TASKS: dict[str, tuple[str, ...]] = {
    "masks": (),
    "classes": ("task=classification", "model=resnet18", "scoring=confidence"),
    "boxes": ("task=detection", "model=fcos", "scoring=mean_reliability"),
}


def command(arguments: list[str]) -> None:
    """Look at all files, print what was found, and write a sheet of samples."""
    from rich.console import Console

    from hardmine.data.listings.splits import UndividedError
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
    odd: list[str] = []
    try:
        data = data_of(chosen)
    except UndividedError as error:
        odd.append(f"{str(error).removeprefix('data: ')}; this is with {_PARTED}")
        chosen.append(_PARTED)
        data = data_of(chosen)
    survey = Survey.of(data, tiled=tiled(chosen))
    for table in tables(survey):
        print_table(console, table)
    odd += survey.odd
    for line in odd or ["nothing is odd"]:
        console.print(f"- {line}" if odd else line, soft_wrap=True, markup=False, highlight=False)
    console.print(train_on(chosen, data, survey.least), soft_wrap=True, markup=False, highlight=False)
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
        known = {*keys, *(["data.classes"] if (root / "classes.csv").is_file() else [])}
        needed = [each for each in _OPEN if key_of(each) not in known]
        print(f"\nNearest: hardmine data {' '.join(map(_shell, [*pairs, *needed, *given]))}")
        if "data.shifted" not in keys:
            print(f"Then say which images are of the light that you train for, as {' '.join(map(_shell, _SHIFTED))}")
    raise InputError(f"data: {root}: fits no layout: what it has, and what would fit, is told above")


def train_on(arguments: Sequence[str], data: Any, least: Sequence[int] | None = None) -> str:
    """A line with a command that trains on data, as they are.

    Args:
        arguments: that the data are read by.
        data: of these.
        least: height and width of the smallest image, pixels; of tiles alone it matters.
    """
    if not data.has("train"):
        return "nothing to train on: no image is in train"
    needed = [*_TASKS[data.kind]]
    if (count := len(data.split("train"))) < data.batch_size:
        needed.append(f"data.batch_size={count}")
    size = given = [*getattr(data, "size", ())]
    if tiled(arguments) and least is not None:
        size = [min(pair) for pair in zip(size, least, strict=True)]
    if data.kind == "masks":
        size = [max(_STRIDE, side // _STRIDE * _STRIDE) for side in size]
    if size != given:
        needed.append(f"data.size={size}".replace(" ", ""))
    line = "train on it"
    if not data.has("target"):
        try:
            data_of([*arguments, _SHARE])
            needed.append(_SHARE)
        except InputError:
            line += ", without mining, as no image is in target"
            needed.append("neighbourhood=none")
    keys = {key_of(each) for each in needed}
    kept = [each for each in arguments if key_of(each) not in keys]
    return f"{line}: hardmine train {' '.join(map(_shell, [*kept, *needed]))}"


def data_of(arguments: Sequence[str]) -> Any:
    """The data that a run with these arguments has.

    Raises:
        InputError: such a run is refused, for what is known without the images.
    """
    from hydra.utils import instantiate

    from hardmine.cli.blocks import look_at_groups
    from hardmine.cli.build import build_predictor
    from hardmine.cli.config import BAD
    from hardmine.cli.explain import explain, refusal

    values = with_paths(with_root(arguments), False)
    look_at_groups({key_of(each): each.split("=", 1)[1] for each in values if "=" in each})
    try:
        cfg = composed("train", [*values, "run_dir=."])
        look_at(cfg)
        more = {"predictor": build_predictor(cfg)} if cfg.data.get("regions") == "predicted" else {}
        data = instantiate(cfg.data, _convert_="all", flip=False, **more)
        data.with_targets  # noqa: B018  # whether there are any, where they are asked for
        if "tiles" in cfg.data:
            data.tiles = False  # whole images are looked at
        return data
    except BAD as error:
        kind = type(refusal(error) or InputError(""))
        raise kind(explain(error, "hardmine train")) from None


def tiled(arguments: Sequence[str]) -> bool:
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
