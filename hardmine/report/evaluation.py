"""What an evaluation found: as tables for a terminal, and as a file."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table
from rich.text import Text

from hardmine.errors import InputError
from hardmine.files import read_text, write_atomically
from hardmine.whatif import WhatIf

FORMAT = 1
NAME = "evaluation.json"
AS_THEY_ARE = "as they are"  # row of the images in their own light
_WIDTH = 100  # characters of a table


@dataclass(frozen=True)
class Hard:
    """An image that fails in other light.

    Attributes:
        image: its id.
        accuracy: mean over its candidates.
        clean: of the image as it is.
        environment, lowest: where it fails most, and the accuracy there.
    """

    image: str
    accuracy: float
    clean: float
    environment: str
    lowest: float


@dataclass(frozen=True)
class Evaluation:
    """Of one model on one data set; numbers are in [0, 1], None where there is none.

    Attributes:
        about: what was looked at: `ckpt`, `data`, `source` (split that was put into other light), `version`, ...
        metric: the one that counts.
        measured: by the names that training logs, `test/miou/night`, and for classes `test/iou/road`.
        class_metric: of classes; None where there is none.
        areas: for each split and environment, and `all`, the accuracy of each area and, last, the image.
        what_if: what became of the images in other light; None where there was no store.
        hardest: images that fail most there, the hardest first.
    """

    about: Mapping[str, Any]
    metric: str
    measured: Mapping[str, float | None]
    class_metric: str | None
    areas: Mapping[str, Mapping[str, Mapping[str, float | None]]]
    what_if: WhatIf | None
    hardest: Sequence[Hard]

    def write(self, folder: Path) -> None:
        """As `evaluation.json`, whole or not at all."""
        light = self.what_if
        told: dict[str, Any] = {
            "format": FORMAT,
            **{name: getattr(self, name) for name in ("about", "metric", "class_metric", "measured", "areas")},
            "what_if": None if light is None else light.table.to_pylist(),
            "hardest": [vars(hard) for hard in self.hardest],
        }
        if light is not None:
            told["worst"] = {"environment": light.worst[0], "area": light.worst[1]}
            told["worst_environment"] = {"environment": light.worst_environment, "accuracy": light.lowest}
        text = json.dumps(_plain(told), indent=2, allow_nan=False) + "\n"
        write_atomically(folder / NAME, lambda file: file.write(text.encode()))

    @classmethod
    def read(cls, folder: Path) -> "Evaluation":
        """What `write` wrote.

        Raises:
            InputError: it is missing, damaged or of another version.
        """
        path = folder / NAME
        try:
            told = json.loads(read_text(path))
            if told["format"] != FORMAT:
                raise InputError(f"{path}: format {told['format']}; this version reads format {FORMAT}: evaluate anew")
            light, hardest = told["what_if"], [Hard(**hard) for hard in told["hardest"]]
            names = ("about", "metric", "measured", "class_metric", "areas")
            read = {name: told[name] for name in names}
            return cls(**read, what_if=None if light is None else WhatIf.of_rows(light), hardest=hardest)
        except (ValueError, KeyError, TypeError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{path}: is no evaluation ({type(error).__name__}): evaluate anew") from None

    def tables(self) -> list[Table]:
        """For a person at a terminal."""
        found = [self._of_splits()]
        if self.class_metric is not None:
            found.append(self._of_classes())
        if self.what_if is not None:
            found.append(self._of_light(self.what_if))
        return found

    def lines(self) -> list[str]:
        """What the tables come to."""
        light = self.what_if
        if light is None:
            return [
                "no images in other light: the data has no split target, and no store was given: set store=file "
                "store.path=FILE.parquet (hardmine store makes one)"
            ]
        worst, furthest = light.worst, light.furthest
        images, of = self.about["images"], self.about["of"]
        those = f"the {of}" if images == of else f"{images} of the {of}"
        counted = f"{self.about['candidates']} candidates of {those} images"
        if not light.images.any():
            return [f"{counted}: none could be scored: look at the labels of the {self.about['source']} images"]
        return [
            f"{counted}; 95 % interval and drop are of the whole image",
            f"lowest accuracy: {worst[1]} in {worst[0]} ({light.at(light.accuracy, *worst):.1%}); furthest drop: "
            f"{furthest[1]} in {furthest[0]} ({light.at(light.drop, *furthest) * 100:.1f} points)",
        ]

    def of_splits(self) -> list[tuple[str, str, float | None, list[float | None]]]:
        """Split, environment, metric, and accuracy of each area, of each that was measured."""
        rows = []
        for split, environments in self.areas.items():
            for name, areas in environments.items():
                key = f"{split}/{self.metric}" + ("" if name == "all" else f"/{name}")
                rows.append((split, name, self.measured.get(key), list(areas.values())))
        return rows

    def of_classes(self) -> tuple[list[str], list[tuple[str, list[float | None]]]]:
        """Splits, and for each class its metric in each of them."""
        splits = list(self.areas)
        of_first = f"{splits[0]}/{self.class_metric}/"
        names = [key.removeprefix(of_first) for key in self.measured if key.startswith(of_first)]
        of = [(name, [self.measured.get(f"{split}/{self.class_metric}/{name}") for split in splits]) for name in names]
        return splits, of

    def _of_splits(self) -> Table:
        rows = self.of_splits()
        heads = [self.metric, *next(iter(next(iter(self.areas.values())).values()))]
        table = _table(f"{self.metric}, and recognition accuracy of each area, in %", ["split", "environment"], heads)
        for number, (split, name, value, areas) in enumerate(rows):
            ends = number + 1 == len(rows) or rows[number + 1][0] != split
            cells = [_percent(each) for each in (value, *areas)]
            table.add_row(split, Text(name), *cells, style="bold" if name == "all" else None, end_section=ends)
        return table

    def _of_classes(self) -> Table:
        splits, rows = self.of_classes()
        table = _table(f"{self.class_metric} of each class in %", ["class"], splits)
        for name, values in rows:
            table.add_row(Text(name), *map(_percent, values))
        return table

    def _of_light(self, light: WhatIf) -> Table:
        title = f"the same {self.about['source']} images in other light: recognition accuracy in %"
        table = _table(title, ["environment"], [*light.areas, "95 %", "drop"])
        for row, name in enumerate(light.environments):
            low, high = light.low[row, -1], light.high[row, -1]
            interval = "" if np.isnan(low) else f"{low * 100:.0f}-{high * 100:.0f}"
            cells = [_percent(value) for value in light.accuracy[row].tolist()]
            cells[light.areas.index(light.furthest[1])].stylize("bold red" if name == light.furthest[0] else "")
            table.add_row(Text(name), *cells, interval, _percent(float(light.drop[row, -1])))
        table.add_section()
        table.add_row(AS_THEY_ARE, *map(_percent, as_they_are(light)), "", "", style="bold")
        return table


def as_they_are(light: WhatIf) -> list[float]:
    """Accuracy of the images that were put into other light, as they are, for each area; NaN where it has none."""
    clean = np.nanmax(light.clean, axis=0) if not np.isnan(light.clean).all() else light.clean[0]
    return [float(value) for value in clean]


def _table(title: str, left: Sequence[str], right: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", caption_justify="left", box=None, header_style="bold")
    width = max(4, min(10, (_WIDTH - 15 * len(left)) // len(right) - 2))
    for name in left:
        table.add_column(name, overflow="fold")
    short = [name if len(name) <= width else f"{name[: width - 1]}…" for name in right]
    for name in short if len(set(short)) == len(right) else right:  # names that begin alike are left whole
        table.add_column(Text(name), justify="right", no_wrap=True)
    return table


def _percent(value: float | None) -> Text:
    return Text("" if value is None or value != value else f"{value * 100:.1f}")


def _plain(value: Any) -> Any:
    """NaN, which JSON does not know, as null."""
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and value != value else value
