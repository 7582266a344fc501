"""What the policies share that go by the environment table (R29; D50-D53)."""

import torch
from torch import Tensor

from hardmine.neighbourhood.reach import Reach
from hardmine.neighbourhood.stored import Stored
from hardmine.records import Recipe
from hardmine.store.environment import Associations, EnvironmentTable, Order
from hardmine.store.store import ParameterStore


class Cells(Stored):
    """A stored point of the cells that a subclass links with the cell of each row's parameter.

    A parameter that was generated belongs to the cell of the stored point nearest to it in the graph, for each area or,
    where all areas take the same light, by the root mean square over the areas the two have in common. There an
    association of one area holds for the whole image when that area counts.

    Args:
        order, associations: see `EnvironmentTable`.
        independent: see `Stored`.
    """

    def __init__(
        self,
        order: Order | None = None,
        associations: Associations | None = None,
        independent: bool = False,
    ) -> None:
        super().__init__(independent)
        self.order, self.associations = order, associations
        self._known: tuple[ParameterStore, EnvironmentTable] | None = None

    def linked(self, table: EnvironmentTable) -> Tensor:
        """(C, C) or (R, C, C) bool: from the cell of a parameter to those its neighbours may come from."""
        raise TypeError(f"{type(self).__name__} must say which cells are linked")

    def table(self, store: ParameterStore) -> EnvironmentTable:
        """The environment table of a store, made once."""
        if self._known is None or self._known[0] is not store:
            self._known = store, EnvironmentTable(store, self.order, self.associations)
        return self._known[1]

    def near(self, rows: Recipe, store: ParameterStore) -> Tensor:
        """See `Stored`."""
        table = self.table(store)
        cell = table.cell[self._home(rows, store)]  # (N, R)
        linked = self.linked(table).expand(store.regions, -1, -1)[torch.arange(store.regions), cell]  # (N, R, C)
        near = linked[..., table.cell].movedim(1, 2)
        if self.independent:
            return near
        return (near & rows.counted[:, None]).any(dim=-1, keepdim=True)

    def _home(self, rows: Recipe, store: ParameterStore) -> Tensor:
        """(N, R) int64: the stored point that each parameter is, or is nearest to."""
        stored = rows.target.long()
        if not self.independent:
            votes = torch.zeros(len(rows), len(store), dtype=torch.int64)
            votes.scatter_add_(1, stored.clamp(min=0), (rows.counted & (stored >= 0)).long())
            most = votes.max(dim=1)  # an area that the present target lacks keeps the one before
            stored = most.indices.masked_fill(most.values == 0, -1)[:, None].expand_as(stored)
        generated = (rows.counted & (stored < 0)).any(dim=1)
        if generated.any():
            stored = stored.clone()
            nearest = self._nearest(rows[generated], store)
            stored[generated] = torch.where(stored[generated] < 0, nearest, stored[generated])
        return stored.clamp(min=0)  # of what is not converted, any: it has no neighbour

    def _nearest(self, rows: Recipe, store: ParameterStore) -> Tensor:
        """(N, R), or (N, 1) where all areas go together."""
        squares = Reach().squares(rows.parameter[:, None], store.parameters, store.space).sum(-1)  # (N, M, R)
        shared = rows.counted[:, None] & store.valid
        if not self.independent:
            squares = (squares * shared).sum(-1, keepdim=True) / shared.sum(-1, keepdim=True)
            shared = shared.any(-1, keepdim=True)
        return squares.masked_fill(~shared, torch.inf).argmin(dim=1)
