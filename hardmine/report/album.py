"""Pictures of single candidates, made again from the ledger: the hardest ones, and what lies behind the graph."""

import io
import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from hardmine.candidates import Candidates
from hardmine.errors import InputError
from hardmine.files import trouble, write_atomically
from hardmine.neighbourhood.cells import environments
from hardmine.records import VOID, Recipe, Verdict
from hardmine.report.picture import Picture
from hardmine.report.sheet import Shown, Target, show
from hardmine.space import in_words
from hardmine.store import ParameterStore
from hardmine.store.file import WHOLE

if TYPE_CHECKING:
    from hardmine.mining import Mining

NAME = "album.parquet"
MOST = 64  # candidates
_HARDEST = 36  # of them, chosen for being hard
_LOOKED = 500  # hardest candidates of each area whose environment is looked at
_ROWS = 8  # that are made at a time
_BAD = 0.5  # recognition accuracy below which an area or a class fails
_WIDE = 320  # pixels of a picture, at most
_QUALITY = 65  # of the WebP of a photograph
_FORMAT = b"hardmine.album", b"1"


@dataclass(frozen=True)
class Entry:
    """One candidate with its pictures.

    Attributes:
        title: what it is.
        environment: that it was converted to; empty where that is not known.
        areas, classes: that are recognised worst in it.
        score: recognition accuracy in [0, 1] when it was judged.
        step: optimiser steps behind the model that judged it.
        facts: names and words: its recipe.
        points: target and area of each point of the graph that it belongs to, `target/area`.
        captions, pictures: words and WebP of each picture.
    """

    title: str
    environment: str
    areas: Sequence[str]
    classes: Sequence[str]
    score: float
    step: int
    facts: Sequence[str]
    points: Sequence[str]
    captions: Sequence[str]
    pictures: Sequence[bytes]


def point(target: str, area: str) -> str:
    """Name of a point of the graph."""
    return f"{target}/{area}"


def choose(recipe: Recipe, verdict: Verdict, store: ParameterStore, most: int = MOST) -> Tensor:
    """Candidates to look at: the hardest of each environment and area in turn, then the latest of points of the graph.

    Args:
        recipe, verdict: N rows, the oldest first.
        store: the targets.
        most: rows at most.

    Returns:
        (n,) int64 rows, hardest first.
    """
    counted = recipe.counted.clone()
    counted[:, -1] |= recipe.counted.any(1)
    hard = recipe.piece >= 0 if bool((recipe.piece >= 0).any()) else recipe.counted.any(1)
    scores = torch.cat([verdict.area_score[:, :-1], verdict.score[:, None]], dim=1)
    scores = scores.masked_fill(~(counted & hard[:, None]) | scores.isnan(), torch.inf)
    order = scores.sort(dim=0, stable=True)
    near = torch.unique(order.indices[:_LOOKED][order.values[:_LOOKED].isfinite()])
    where = [tuple(each.values()) for each in environments(recipe[near], store)] if len(near) else []
    cell = torch.tensor([{name: number for number, name in enumerate(dict.fromkeys(where))}[each] for each in where])
    ranked = []  # (place in its cell, score, row)
    for region in range(scores.shape[1]):
        for number in range(len(set(where))):
            rows = near[cell == number]
            rows = rows[scores[rows, region].sort(stable=True).indices][: min(_HARDEST, len(rows))]
            of_cell = enumerate(rows.tolist())
            ranked += [(k, float(scores[row, region]), row) for k, row in of_cell if scores[row, region] < torch.inf]
    found = list(dict.fromkeys(row for _, _, row in sorted(ranked)))[: min(most, _HARDEST)]
    found += [row for row in _latest(recipe).tolist() if row not in found][: most - len(found)]
    rows = torch.tensor(found, dtype=torch.int64)
    return rows[verdict.score[rows].nan_to_num(2).sort(stable=True).indices]


def _latest(recipe: Recipe) -> Tensor:
    """(n,) int64: the rows that were the latest at some point of the graph, those of most points first."""
    there = recipe.counted & (recipe.target >= 0)
    row, region = there.nonzero(as_tuple=True)
    code = (recipe.target[row, region].long() * there.shape[1] + region).numpy()
    codes, place = np.unique(code, return_inverse=True)
    last = np.full(len(codes), -1)
    np.maximum.at(last, place, row.numpy())
    rows, points = np.unique(last, return_counts=True)
    return torch.from_numpy(rows[np.argsort(-points, kind="stable")])


class Album:
    """Makes chosen candidates again and keeps their pictures.

    Args:
        mining: that judges, once it has read a batch.
        recipe, verdict: of the candidates, at most some dozens.
        load: batch of the sources of rows, on the device of the model.
        sources: ids of the source images.
        target: images of the rows of the store.
        classes: names of what is recognised.
    """

    def __init__(
        self,
        mining: "Mining",
        recipe: Recipe,
        verdict: Verdict,
        load: Callable[[Recipe], Any],
        sources: Sequence[str],
        target: Target,
        classes: Sequence[str] = (),
    ) -> None:
        self.mining, self.recipe, self.verdict = mining, recipe, verdict
        self.load, self.sources, self.target, self.classes = load, sources, target, classes
        self._shown: list[tuple[str, list[Shown]]] = []  # by each model, the first one's first
        self._failing: list[list[str]] = []
        self._painted = False

    def look(
        self,
        model: nn.Module,
        caption: str,
        forward_context: Callable[[], AbstractContextManager[Any]] = nullcontext,
        hooks: Callable[[Any], Any] = lambda batch: batch,
    ) -> None:
        """Have a model recognise all candidates.

        Args:
            model: as it is.
            caption: of its predictions.
            forward_context, hooks: see `Mining.judge` and `Mining.offer`.
        """
        shown: list[Shown] = []
        self._failing = []
        for start in range(0, len(self.recipe), _ROWS):
            rows = self.recipe[start : start + _ROWS]
            scenes = self.mining.read(self.load(rows))
            made, _ = self.mining.examine(model, scenes, rows, torch.arange(len(rows)), forward_context, hooks)
            self._painted = isinstance(made.prediction, Tensor) and made.prediction.ndim == 4
            shown += [show(made, row, self.mining.store, self.target, self.classes) for row in range(len(rows))]
            self._failing += [_failing(made, row, self.classes) for row in range(len(rows))]
        self._shown.append((caption, shown))

    def entries(self) -> list[Entry]:
        """Of all candidates, after at least one look."""
        store = self.mining.store
        reached = environments(self.recipe, store) if len(self.recipe) else []
        entries = []
        for row, (first, where) in enumerate(zip(self._shown[0][1], reached, strict=True)):
            # the latest look first: it is at how the model was before
            looks = self._shown[::-1]
            predictions = [(caption, shown[row].score, shown[row].pictures[4]) for caption, shown in looks]
            pictures = [*first.pictures[:4], *(picture for *_, picture in predictions)]
            flat = [False, True, False, False, *[self._painted] * len(predictions)]
            scored = [f"{caption} ({_percent(score)})" for caption, score, _ in predictions]
            entries.append(
                Entry(
                    first.what if int(self.recipe.piece[row]) >= 0 else self.sources[int(self.recipe.source[row])],
                    " ".join(where.values()),
                    self._worst(row),
                    self._failing[row],
                    float(self.verdict.score[row]),
                    int(self.verdict.step[row]),
                    self._facts(row),
                    [point(store.ids[target], area) for target, area, _ in self._regions(row) if target >= 0],
                    [*first.captions[:4], *scored],
                    [_webp(*each) for each in zip(pictures, flat, strict=True)],
                )
            )
        return entries

    def write(self, path: Path) -> None:
        """All entries as Parquet, whole or not at all."""
        write_album(path, self.entries(), self.mining.store.areas, self.classes)

    def _regions(self, row: int) -> list[tuple[int, str, int]]:
        """Target (-1 where generated), name and number of each region that is converted."""
        names = [*self.mining.store.areas, WHOLE]
        counted = self.recipe.counted[row].nonzero().flatten().tolist()
        return [(int(self.recipe.target[row, region]), names[region], region) for region in counted]

    def _worst(self, row: int) -> list[str]:
        """Converted areas that were recognised badly, or worst."""
        of = self.verdict.area_score[row]
        known = {name: float(of[region]) for _, name, region in self._regions(row) if of[region] == of[region]}
        return _lowest(known)

    def _facts(self, row: int) -> list[str]:
        recipe, store = self.recipe[row : row + 1], self.mining.store
        axes = store.space.graph.nonzero().flatten().tolist()
        across = axes[0]
        up = next((axis for axis in axes if store.space.spread[axis]), axes[-1])
        facts = [
            f"source {self.sources[int(recipe.source)]}, draw {int(recipe.draw)}",
        ]
        for target, name, region in self._regions(row):
            values = recipe.parameter[0, region]
            said = ", ".join(f"{in_words(store.space.names[axis])} {float(values[axis]):.1f}" for axis in (across, up))
            facts.append(f"{name}: {store.ids[target] if target >= 0 else 'generated'}; {said}")
        return facts


def write_album(path: Path, entries: Sequence[Entry], areas: Sequence[str], classes: Sequence[str]) -> None:
    """Entries as Parquet, whole or not at all.

    Args:
        path: of the file.
        entries: of candidates.
        areas, classes: names in label order, for the legend.
    """
    names = list(Entry.__dataclass_fields__)
    lists = {"areas", "classes", "facts", "points", "captions"}
    kinds = {name: pa.list_(pa.string()) if name in lists else pa.string() for name in names}
    kinds |= {"score": pa.float64(), "step": pa.int64(), "pictures": pa.list_(pa.binary())}
    columns = {name: pa.array([getattr(entry, name) for entry in entries], kinds[name]) for name in names}
    about = {_FORMAT[0]: _FORMAT[1], b"legend": json.dumps([list(areas), list(classes)]).encode()}
    table = pa.table(columns).replace_schema_metadata(about)
    write_atomically(path, lambda file: pq.write_table(table, file, compression="zstd"))


def read_album(path: Path) -> tuple[list[Entry], list[str], list[str]]:
    """What `write_album` wrote: entries, areas, classes; empty where there is no file.

    Raises:
        InputError: it is damaged.
    """
    if trouble(path):
        return [], [], []
    try:
        table = pq.read_table(path)
        about = table.schema.metadata or {}
        if about.get(_FORMAT[0]) != _FORMAT[1]:
            raise ValueError("another format")
        areas, classes = json.loads(about[b"legend"])
        return [Entry(**row) for row in table.to_pylist()], list(map(str, areas)), list(map(str, classes))
    except (OSError, ValueError, TypeError, KeyError, pa.ArrowException) as error:
        why = str(error).splitlines()[0]
        raise InputError(f"{path}: is damaged ({why}): delete it, and the page has no pictures of candidates") from None


def _failing(candidates: Candidates, row: int, classes: Sequence[str]) -> list[str]:
    """Classes of a candidate's labels that are recognised badly, or worst; of images and boxes, those of the labels."""

    def name(label: int) -> str:
        return classes[label] if 0 <= label < len(classes) else str(label)

    labels, prediction = candidates.labels, candidates.prediction
    if "boxes" in labels:
        return [name(label) for label in torch.unique(labels["labels"][row]).tolist() if label >= 0]
    target = labels["target"][row].cpu()
    if not target.ndim:
        return [name(int(target))]
    right = prediction[row].argmax(0).cpu() == target
    there = [label for label in torch.unique(target).tolist() if label != VOID]
    return _lowest({name(label): float(right[target == label].float().mean()) for label in there})


def _lowest(accuracy: dict[str, float]) -> list[str]:
    """Names whose accuracy is low, the lowest first; where none is, the lowest one."""
    ordered = sorted(accuracy, key=lambda name: accuracy[name])
    return [name for name in ordered if accuracy[name] < _BAD] or ordered[:1]


def _webp(picture: Picture, flat: bool) -> bytes:
    """Of a photograph, or of flat colours, of which no others are made."""
    pixels: NDArray[np.uint8] = picture
    image, kept = Image.fromarray(pixels), io.BytesIO()
    if image.width > _WIDE:
        size = _WIDE, max(1, round(image.height * _WIDE / image.width))
        image = image.resize(size, Image.Resampling.NEAREST if flat else Image.Resampling.LANCZOS)
    image.save(kept, "WEBP", lossless=flat, quality=_QUALITY, method=6)
    return kept.getvalue()


def _percent(value: float) -> str:
    return "no score" if value != value else f"{value:.0%}"
