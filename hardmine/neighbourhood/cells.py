"""What the policies share that go by the environment table (R29; D50-D53)."""

import torch
from torch import Tensor

from hardmine.neighbourhood.reach import Reach
from hardmine.neighbourhood.stored import Stored
from hardmine.records import Recipe
from hardmine.store.environment import Associations, EnvironmentTable, Order
from hardmine.store.near import Taken, common, draw, nearest
from hardmine.store.store import ParameterStore


class Cells(Stored):
    """A stored parameter of the cells that a subclass links with the cell of each row's parameter.

    A parameter that was generated belongs to the cell of the stored one nearest to it in the graph, for each area or,
    where all areas go together, by the root mean square over the areas the two have in common. There an association of
    one area holds for the whole image when that area counts.

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

    def near(
        self, rows: Recipe, store: ParameterStore, most: int, generator: torch.Generator, taken: Taken | None = None
    ) -> Tensor:
        """See `Stored`."""
        table = self.table(store)
        linked, regions = self.linked(table).expand(store.regions, -1, -1), range(store.regions)
        cell = table.cell[home(rows, store, self.independent)]  # (N, R)

        def each(part: slice) -> Tensor:
            there = [linked[region][cell[:, region, None], table.cell[part]] for region in regions]
            return torch.stack(there, dim=1) & rows.counted[..., None] & store.valid[part].T

        if self.independent:
            return draw(each, len(rows), store, most, generator, taken)
        reached = torch.zeros(len(rows), len(table.cells), dtype=torch.bool)  # from any of a row's regions
        for region in regions:
            reached |= linked[region][cell[:, region]] & rows.counted[:, region, None]

        def together(part: slice) -> Tensor:
            return reached[:, table.cell[part]] & common(rows.counted, store.valid[part])

        return draw(together, len(rows), store, most, generator, taken)


def home(rows: Recipe, store: ParameterStore, independent: bool = False) -> Tensor:
    """The target that each parameter is of or, where it was generated, is nearest to in the graph.

    Args:
        rows: N of them.
        store: the targets.
        independent: every area has a target of its own; otherwise a row has that of most of its converted regions.

    Returns:
        (N, R) int64; of what is not converted, any.
    """
    stored = rows.target.long()
    if not independent:  # that of most regions; an area that the present target lacks keeps the one before
        voting = rows.counted & (stored >= 0)
        votes = ((stored[:, :, None] == stored[:, None]) & voting[:, None]).sum(-1) * voting
        winning = voting & (votes == votes.amax(dim=1, keepdim=True))
        most = stored.masked_fill(~winning, len(store)).amin(dim=1, keepdim=True)
        stored = most.masked_fill(~voting.any(dim=1, keepdim=True), -1).expand_as(stored)
    generated = (rows.counted & (stored < 0)).any(dim=1)
    if generated.any():
        stored = stored.clone()
        closest = nearest(rows[generated], store, Reach(), independent)
        stored[generated] = torch.where(stored[generated] < 0, closest, stored[generated])
    return stored.clamp(min=0)


def environments(rows: Recipe, store: ParameterStore) -> list[dict[str, str]]:
    """The environment that each row is converted to, by component; {} where the store knows of none.

    It is that of the target, or of the stored parameter nearest to one that was generated. Where areas have targets of
    their own it is that of the target which most of the converted regions have.
    """
    return [
        {component: values[target] for component, values in store.environment.items()}
        for target in home(rows, store)[:, 0].tolist()
    ]
