"""What the policies share that go by the environment table (R29; D50-D53)."""

import torch
from torch import Tensor

from hardmine.errors import InputError
from hardmine.memory.graph import Graph
from hardmine.memory.grown import Grown, made
from hardmine.neighbourhood.blend import Blend
from hardmine.neighbourhood.reach import Reach
from hardmine.neighbourhood.stored import Stored, Used
from hardmine.records import Recipe
from hardmine.store.draw import Taken, draw, without
from hardmine.store.environment import Associations, EnvironmentTable, Order
from hardmine.store.near import nearest
from hardmine.store.store import ParameterStore


class Cells(Stored):
    """A stored parameter of the cells that a subclass links with the cell of each row's parameter.

    A parameter that was generated belongs to the cell of the stored one nearest to it in the graph, for each area or,
    where all areas go together, by the root mean square over the areas the two have in common. There an association of
    one area holds for the whole image when that area counts.

    Args:
        order, associations: see `EnvironmentTable`.
        independent, used: see `Stored`.
        grows: the group of a cell grows by what was used in it (D51). Where no stored parameter of the linked cells is
            left for a source, one is made between the row's own and up to two of theirs (see `Blend`); if it becomes a
            piece it belongs to its cell, and other sources for which no stored one is left get it before a new one is
            made. The first 256 are kept.

    Raises:
        InputError: `grows` where areas are independent.
    """

    def __init__(
        self,
        order: Order | None = None,
        associations: Associations | None = None,
        independent: bool = False,
        used: Used = "graph",
        grows: bool = False,
    ) -> None:
        super().__init__(independent, used)
        if grows and independent:
            raise InputError("neighbourhood.grows takes all areas of an image along: set independent=false")
        self.order, self.associations, self.grows = order, associations, grows
        self._known: tuple[ParameterStore, EnvironmentTable] | None = None

    def linked(self, table: EnvironmentTable) -> Tensor:
        """(C, C) or (R, C, C) bool: from the cell of a parameter to those its neighbours may come from."""
        raise TypeError(f"{type(self).__name__} must say which cells are linked")

    def table(self, store: ParameterStore) -> EnvironmentTable:
        """The environment table of a store, made once."""
        if self._known is None or self._known[0] is not store:
            self._known = store, EnvironmentTable(store, self.order, self.associations)
        return self._known[1]

    def __call__(
        self, rows: Recipe, store: ParameterStore, graph: Graph, generator: torch.Generator
    ) -> tuple[Recipe, Tensor]:
        """See `Neighbourhood`."""
        proposal, found = super().__call__(rows, store, graph, generator)
        if not self.grows:
            return proposal, found
        blend = Blend()
        blend.select = self
        between, moved = blend.between(rows, store, generator)
        possible = (moved & rows.present).any(1)
        if graph.grown is not None and len(graph.grown.recipe):
            again, there = self._again(rows, store, graph.grown, generator)
            between, possible = again.where(there, between), there | possible
        return proposal.where(found, between.where(possible, rows)), found | possible

    def _again(
        self, rows: Recipe, store: ParameterStore, grown: Grown, generator: torch.Generator
    ) -> tuple[Recipe, Tensor]:
        """A parameter that a linked cell grew by and that is unused on the source, each with the same chance."""
        table, region = self.table(store), torch.arange(store.regions)
        linked, kept = self.linked(table).expand(store.regions, -1, -1), torch.arange(len(grown.recipe))
        here, there = (table.cell[home(recipe, store)] for recipe in (rows, grown.recipe))  # (N, R) and (K, R)
        near = linked[region, here[:, None], there] & grown.made & rows.counted[:, None]  # (N, K, R)
        seen = grown.used.holds(rows.source, kept[:, None].expand(len(rows), -1, 1), region) | grown.same(rows)
        unused = near.any(-1) & ~(seen & rows.counted[:, None]).any(-1)
        chance = torch.rand(unused.shape, generator=generator).masked_fill(~unused, -1)
        picked = grown.recipe[chance.argmax(1)]
        moved = rows.chosen & made(picked)
        proposal = rows.replace(
            parameter=torch.where(moved[..., None], picked.parameter, rows.parameter),
            target=torch.where(moved, -1, rows.target).int(),
        )
        return proposal, unused.any(1)

    def near(
        self, rows: Recipe, store: ParameterStore, most: int, generator: torch.Generator, taken: Taken | None = None
    ) -> Tensor:
        """See `Stored`."""
        table, regions = self.table(store), torch.arange(store.regions)
        linked = self.linked(table).expand(store.regions, -1, -1)
        # the cells that each region of a row leads to, (N, R, C)
        reached = linked[regions, table.cell[home(rows, store, self.independent)]] & rows.counted[..., None]
        if not self.independent:
            reached = reached.any(1, keepdim=True)  # from any of them
        reached = reached.flatten(0, 1)

        def test(query: Tensor, target: Tensor) -> Tensor:
            there = store.offered[target]
            # that a row converts the region of a query, `reached` knows
            there = there.gather(1, query[:, None] % store.regions) if self.independent else there & rows.counted[query]
            return reached[query, table.cell[target]] & there.any(1)

        return draw(
            without(test, taken, store.regions, self.independent),
            rows.counted if self.independent else rows.counted.any(1),
            store,
            most,
            generator,
            lambda: table.targets.of(reached),
        )


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
