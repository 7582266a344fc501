"""The distribution graph: which stored parameters were tried, and how well the model did there (R33, R34; D54)."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from hardmine.files import write_atomically
from hardmine.memory.grown import Grown
from hardmine.memory.used import Used
from hardmine.records import Recipe, Verdict
from hardmine.store.file import WHOLE
from hardmine.store.store import ParameterStore

_TABLES = ("accuracy", "step", "uses")


class Graph:
    """Marks on the parameters of a store, for colours the points (t_mean, t_std).

    A parameter is used *for a source*: the search converts one input again and again (D66), each time with a parameter
    that input has not seen. The accuracy at a parameter is the latest one, whichever source it was measured on.

    Args:
        store: the parameters.
        grows: remember generated parameters that became pieces as well.

    Attributes:
        accuracy: (M, R) float32, latest recognition accuracy at each parameter; NaN where there is none. Its last
            column is of the whole image, whichever regions were converted.
        step: (M, R) int64, optimiser step of that accuracy; -1 where there is none.
        uses: (M, R) int64, candidates made with the parameter.
        used: which parameters were tried on which source.
        tried: first parameters that each source has had; a source that is not there has had none.
        latest: (R,) int32, the target that each source was put into last; -1 where it was generated or none.
        grown: generated parameters that became pieces; None where the graph does not grow.
    """

    def __init__(self, store: ParameterStore, grows: bool = False) -> None:
        shape = (len(store), store.regions)
        self.accuracy = torch.full(shape, torch.nan)
        self.step = torch.full(shape, -1, dtype=torch.int64)
        self.uses = torch.zeros(shape, dtype=torch.int64)
        self.used = Used(*shape)
        self.tried: dict[int, int] = {}
        self.latest: dict[int, Tensor] = {}
        self.grown = Grown(store) if grows else None

    def update(self, recipe: Recipe, verdict: Verdict) -> None:
        """Enter the verdicts on N candidates; generated parameters are not stored and leave no mark on the points."""
        if self.grown is not None:
            self.grown.update(recipe, verdict)
        for source in recipe.source[recipe.parent < 0].tolist():
            self.tried[source] = self.tried.get(source, 0) + 1
        self.latest.update(zip(recipe.source.tolist(), recipe.target.clone(), strict=True))
        row, region = ((recipe.target >= 0) & recipe.counted).nonzero(as_tuple=True)
        target = recipe.target[row, region].long()
        self.used.add(recipe.source[row], target, region)
        self.uses.index_put_((target, region), torch.ones_like(target), accumulate=True)
        self._mark(target, region, verdict.area_score[row, region], verdict.step[row])
        whole = torch.full_like(target, self.accuracy.shape[1] - 1)
        self._mark(target, whole, verdict.score[row], verdict.step[row])

    def _mark(self, target: Tensor, region: Tensor, accuracy: Tensor, step: Tensor) -> None:
        seen = ~accuracy.isnan()
        place = (target[seen].numpy(), region[seen].numpy())
        # numpy, unlike torch, promises that of several values for one place the last one stands
        self.accuracy.numpy()[place] = accuracy[seen].numpy()
        self.step.numpy()[place] = step[seen].numpy()

    def state_dict(self) -> dict[str, Any]:
        """Plain tensors; `used` and `tried` as rows of numbers."""
        tables = {name: getattr(self, name).clone() for name in _TABLES}
        tried = torch.tensor(sorted(self.tried.items()), dtype=torch.int64).view(-1, 2)
        latest = torch.stack(list(self.latest.values())) if self.latest else self.latest_of(torch.empty(0).long())
        sources = torch.tensor(list(self.latest), dtype=torch.int64)
        grown = {} if self.grown is None else {"grown": self.grown.state_dict()}
        return {**tables, "used": self.used.state(), "tried": tried, "sources": sources, "latest": latest, **grown}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in _TABLES:
            getattr(self, name).copy_(state[name])
        self.used.load(state["used"])
        self.tried = dict(state["tried"].tolist())
        self.latest = dict(zip(state["sources"].tolist(), state["latest"].clone(), strict=True))
        if self.grown is not None and "grown" in state:
            self.grown.load_state_dict(state["grown"])

    def latest_of(self, source: Tensor) -> Tensor:
        """(N, R) int64: the target that each of N sources was put into last; -1 where none is known.

        Sources that nobody numbered (-1) are many images, of which none is known.
        """
        none = torch.full((self.accuracy.shape[1],), -1, dtype=torch.int32)
        rows = [self.latest.get(each, none) if each >= 0 else none for each in source.tolist()]
        return torch.stack(rows).long() if rows else none[None][:0].long()

    def save(self, path: Path, store: ParameterStore) -> None:
        """A Parquet table of the parameters: target, area, the axes of the graph, uses, accuracy and its step."""
        m, r = self.accuracy.shape
        axes = {name: store.parameters[..., i] for i, name in enumerate(store.space.names) if store.space.graph[i]}
        table = pa.table(
            {
                "target": [name for name in store.ids for _ in range(r)],
                "area": [*store.areas, WHOLE] * m,
                **{name: value.flatten().numpy() for name, value in axes.items()},
                "valid": store.valid.flatten().numpy(),
                "uses": self.uses.flatten().numpy(),
                "accuracy": self.accuracy.flatten().numpy(),
                "step": self.step.flatten().numpy(),
            }
        )
        write_atomically(path, lambda file: pq.write_table(table, file))
