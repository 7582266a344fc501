"""The distribution graph: which stored points were tried, and how well the model did there (R33, R34; D54)."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from hardmine.files import write_atomically
from hardmine.records import Recipe, Verdict
from hardmine.store.file import WHOLE
from hardmine.store.store import ParameterStore

_MEMORY = 0.8  # share of the average that stays when a target is tried once more
_TRIED = 512  # targets at most that a level is estimated from
_REACH = 10.0  # standard deviation of the kernel, units of the graph: the default second threshold
_NEAR = 1e-2  # weight of a target two and a half reaches away; from less nothing is concluded


class Graph:
    """Marks on the points (t_mean, t_std) of a store.

    A point is used *for a source*: the search converts one input again and again (D66), each time with a point that
    input has not seen. The accuracy at a point is the latest one, whichever source it was measured on.

    Args:
        store: the points.
        sources: S, number of source images.

    Attributes:
        accuracy: (M, R) float32, latest recognition accuracy at each point; NaN where there is none. Its last column
            is of the whole image, whichever regions were converted.
        step: (M, R) int64, optimiser step of that accuracy; -1 where there is none.
        uses: (M, R) int64, candidates made with the point.
        used: (S, M, R) bool, whether the point was tried on the source.
        tried: (S,) int64, first parameters that the source has had.
        level: (M,) float32, recognition accuracy with the light of each target, averaged over the sources it was
            tried on, of late ones more; NaN where there is none. One picture says little of a light.
    """

    def __init__(self, store: ParameterStore, sources: int) -> None:
        self.store = store
        shape = (len(store), store.regions)
        self.accuracy = torch.full(shape, torch.nan)
        self.step = torch.full(shape, -1, dtype=torch.int64)
        self.uses = torch.zeros(shape, dtype=torch.int64)
        self.used = torch.zeros(sources, *shape, dtype=torch.bool)
        self.tried = torch.zeros(sources, dtype=torch.int64)
        self.level = torch.full((len(store),), torch.nan)

    def unused(self, source: Tensor) -> Tensor:
        """(N, M, R) bool: the points not yet tried on each of N sources."""
        return ~self.used[source]

    def update(self, recipe: Recipe, verdict: Verdict) -> None:
        """Enter the verdicts on N candidates; generated parameters are no stored points and leave no mark."""
        self.tried += recipe.source[recipe.parent < 0].bincount(minlength=len(self.tried))
        row, region = ((recipe.target >= 0) & recipe.counted).nonzero(as_tuple=True)
        target = recipe.target[row, region].long()
        self.used[recipe.source[row], target, region] = True
        self.uses.index_put_((target, region), torch.ones_like(target), accumulate=True)
        self._mark(target, region, verdict.area_score[row, region], verdict.step[row])
        whole = torch.full_like(target, self.accuracy.shape[1] - 1)
        self._mark(target, whole, verdict.score[row], verdict.step[row])
        self._average(recipe, verdict)

    def level_of(self, recipe: Recipe) -> Tensor:
        """(N,) float32: recognition accuracy to be expected with each row's light, NaN where nothing near was tried.

        Kernel regression (Nadaraya and Watson 1964) over the targets tried last, in the axes of the graph: lights
        that lie together are alike, and what one picture says of one of them is mostly chance.
        """
        tried = self.step[:, -1].topk(min(_TRIED, len(self.level))).indices
        tried = tried[~self.level[tried].isnan()]
        axes, unit = self.store.space.graph, self.store.space.unit
        apart = (recipe.parameter[:, None] - self.store.parameters[tried])[..., axes] / unit[axes]
        shared = (recipe.counted[:, None] & self.store.valid[tried]).float()
        square = (apart.square().sum(-1) * shared).sum(-1) / shared.sum(-1)  # NaN where no area is shared
        weight = (-square / (2 * _REACH**2)).exp().nan_to_num(0)
        return (weight @ self.level[tried]) / weight.sum(1).masked_fill(weight.sum(1) < _NEAR, torch.nan)

    def _average(self, recipe: Recipe, verdict: Verdict) -> None:
        """Every row counts for each target it has areas of, by its share of the areas; all rows at the same time."""
        stored = (recipe.counted & (recipe.target >= 0)).float()
        seen = ~verdict.score.isnan()
        share = torch.zeros(len(recipe), len(self.level))
        share.scatter_add_(1, recipe.target.clamp(min=0).long(), stored / stored.sum(1, keepdim=True).clamp(min=1))
        share = share * seen[:, None]
        total, score = share.sum(0), verdict.score.nan_to_num(0)
        here = (share * score[:, None]).sum(0) / total.clamp(min=1e-9)
        weight = torch.where(self.level.isnan(), 1.0, 1 - _MEMORY**total)
        moved = torch.lerp(self.level.nan_to_num(0), here, weight)
        self.level = torch.where(total > 0, moved, self.level)

    def _mark(self, target: Tensor, region: Tensor, accuracy: Tensor, step: Tensor) -> None:
        seen = ~accuracy.isnan()
        place = (target[seen].numpy(), region[seen].numpy())
        # numpy, unlike torch, promises that of several values for one place the last one stands
        self.accuracy.numpy()[place] = accuracy[seen].numpy()
        self.step.numpy()[place] = step[seen].numpy()

    def state_dict(self) -> dict[str, Tensor]:
        return {name: getattr(self, name).clone() for name in ("accuracy", "step", "uses", "used", "tried", "level")}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        for name, value in state.items():
            getattr(self, name).copy_(value)

    def save(self, path: Path, store: ParameterStore) -> None:
        """A Parquet table of the points: target, area, the axes of the graph, uses, accuracy and its step."""
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
