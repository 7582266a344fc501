"""The environment table as it stands: parameters, and how well the model does in each environment (R29, R33, R34)."""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from rich.table import Table
from rich.text import Text
from torch import Tensor

from hardmine.errors import InputError
from hardmine.files import trouble
from hardmine.memory.graph import Graph
from hardmine.store import ParameterStore
from hardmine.store.environment import EnvironmentTable, Order

_MOST_ROWS = 36  # more combinations than that are only shown where the store has them
_WIDTH = 100  # characters that the table takes where counts have two digits


@dataclass(frozen=True)
class Marks:
    """What `Graph.save` wrote, see there.

    Attributes:
        ids: of the M targets.
        areas: of the R - 1 areas.
        accuracy: (M, R) float32, NaN where there is none.
        uses: (M, R) int64.
    """

    ids: tuple[str, ...]
    areas: tuple[str, ...]
    accuracy: Tensor
    uses: Tensor


def read_graph(path: str | Path) -> Marks:
    """Read `graph.parquet` back.

    Raises:
        InputError: no such file, or not the table of a graph.
    """
    if why := trouble(Path(path)):
        raise InputError(f"{path}: {why}: give the graph.parquet of a run folder")
    try:
        table = pq.read_table(path, columns=["target", "area", "uses", "accuracy"])
        ids, areas = (tuple(dict.fromkeys(table[name].to_pylist())) for name in ("target", "area"))
        shape = (len(ids), len(areas))
        accuracy = torch.tensor(table["accuracy"].to_pylist(), dtype=torch.float32).view(shape)
        uses = torch.tensor(table["uses"].to_pylist(), dtype=torch.int64).view(shape)
    except (OSError, ValueError, TypeError, RuntimeError, KeyError, pa.ArrowException) as error:
        why = str(error).splitlines()[0]
        raise InputError(f"{path}: not the graph of a run ({why}): give the graph.parquet of a run folder") from None
    return Marks(ids, areas[:-1], accuracy, uses)


def environment_cells(store: ParameterStore, graph: Graph | Marks | None = None, order: Order | None = None) -> Table:
    """A row for each environment, a column for each area and, last, for the image as a whole.

    Without a graph a cell says how many parameters it has; with one, how many of them were used, and in % the mean
    of the latest recognition accuracies there. A target counts for the image where any of its areas does.

    Args:
        store: the parameters.
        graph: of a miner, or as `read_graph` gives it.
        order: see `EnvironmentTable`.

    Raises:
        InputError: the graph is of another store.
    """
    if graph is not None and _foreign(store, graph):
        raise InputError("the graph is of another store: give the store.parquet of the same run folder")
    table = Table(box=None, pad_edge=False, header_style="bold", title_justify="left", caption_justify="left")
    table.title = "parameters of each environment and area"
    if graph is not None:
        table.title = "used/all parameters of each environment and area; mean of the latest accuracies there in %"
    names = [*store.areas, "image"]
    cells = EnvironmentTable(store, order) if store.environment else None
    rows = [] if cells is None else [(name, cells.cell == row) for row, name in enumerate(cells.cells)]
    empty = [name for name, of_cell in rows if not of_cell.any()]
    if len(rows) > _MOST_ROWS and empty:
        rows = [(name, of_cell) for name, of_cell in rows if of_cell.any()]
        table.caption = f"{len(empty)} more combinations have no target"
    widest = max([0, *(len(name) for name, _ in rows)])
    width = max(5, min(10, (_WIDTH - widest) // len(names) - 2))
    table.add_column(overflow="fold")  # the environment; it wraps before a number is cut
    for name in names:
        table.add_column(Text(_short(name, width)), justify="right", no_wrap=True)
    for name, of_cell in rows:
        table.add_row(Text(name), *_entries(store, graph, of_cell))
    table.add_row("all", *_entries(store, graph, torch.ones(len(store), dtype=torch.bool)), style="bold")
    return table


def _entries(store: ParameterStore, graph: Graph | Marks | None, of_cell: Tensor) -> list[Text]:
    """R cells of one row, for the targets `of_cell` (M,) bool."""
    there = store.valid & of_cell[:, None]
    there[:, -1] = there.any(1)
    if graph is None:
        return [Text(str(count) if count else "-") for count in there.sum(0).tolist()]
    used = graph.uses > 0
    used[:, -1] = used.any(1)
    used &= there
    scored = used & ~graph.accuracy.isnan()
    accuracy = (graph.accuracy.where(scored, 0).sum(0) / scored.sum(0) * 100).tolist()
    entries = []
    for count, uses, percent in zip(there.sum(0).tolist(), used.sum(0).tolist(), accuracy, strict=True):
        shown = f"{percent:.0f}%" if percent == percent else ""  # NaN where nothing was scored
        entries.append(Text(f"{uses}/{count}\n{shown}" if count else "-"))
    return entries


def _foreign(store: ParameterStore, graph: Graph | Marks) -> bool:
    if isinstance(graph, Marks):
        return (graph.ids, graph.areas) != (store.ids, store.areas)
    return graph.uses.shape != (len(store), store.regions)


def _short(name: str, width: int) -> str:
    return name if len(name) <= width else f"{name[: width - 1]}…"
