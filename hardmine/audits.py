"""Images put into every environment of a store, to see in which a model fails; nothing is trained."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from hardmine.arguments import look_at_number
from hardmine.conversions import ColorTransfer, Conversion
from hardmine.errors import InputError
from hardmine.judge.judge import Predict
from hardmine.judge.scoring import Scoring
from hardmine.memory.graph import Graph
from hardmine.mining import Mining
from hardmine.records import Recipe, Verdict
from hardmine.rng import keyed
from hardmine.scenes import Scenes
from hardmine.store import ParameterStore
from hardmine.store.environment import EnvironmentTable, Order
from hardmine.view import View
from hardmine.whatif import WhatIf, what_if

IMAGE = "image"  # the last region, by the name that people read
BUDGET = 5000
_ROWS = 32  # candidates that are judged at a time


class Audit:
    """Which image is put into the light of which targets, and what the model makes of it.

    Where all pairs of image and target are more than the budget, each image meets as many targets of each environment
    as the budget allows, and different images different ones. Where one of each is too much already, there are fewer
    images, evenly spaced.

    Args:
        mining: of the images; it has read a batch. Its store has the environments.
        images: S, how many there are.
        budget: candidates at most; images as they are do not count.
        seed: of the choice.
        order: see `EnvironmentTable`.

    Attributes:
        environments: E names, those that the store has.
        cell: (M,) int64, the environment of each target.
        images: (s,) int64, numbers of the images that are looked at.
        targets: (s, K) int64, the targets of each.

    Raises:
        InputError: a budget below one candidate for each environment.
    """

    def __init__(
        self, mining: Mining, images: int, budget: int = BUDGET, seed: int = 0, order: Order | None = None
    ) -> None:
        look_at_number("budget", budget, 1, torch.inf, "candidates", whole=True)
        self.mining, self.store = mining, mining.store
        names, cell = ("all",), torch.zeros(len(self.store), dtype=torch.int64)
        if self.store.environment:
            table = EnvironmentTable(self.store, order)
            kept, cell = torch.unique(table.cell, return_inverse=True)
            names = tuple(table.cells[number] for number in kept.tolist())
        if budget < len(names):
            raise InputError(
                f"budget: {budget} candidates for {len(names)} environments: set it to {len(names)} or more"
            )
        self.environments, self.cell = names, cell
        if images * len(self.store) <= budget:
            self.images = torch.arange(images)
            self.targets = torch.arange(len(self.store)).expand(images, -1)
            return
        fewer = min(images, budget // len(names))
        self.images = torch.linspace(0, images - 1, fewer, dtype=torch.float64).round().long()
        each = budget // fewer // len(names)
        parts = []
        for number in range(len(names)):
            of_cell = (cell == number).nonzero().flatten()
            of_cell = of_cell[torch.randperm(len(of_cell), generator=keyed(seed, "audit", number))]
            taken = min(each, len(of_cell))
            place = torch.arange(fewer)[:, None] * taken + torch.arange(taken)
            parts.append(of_cell[place % len(of_cell)])
        self.targets = torch.cat(parts, dim=1)

    @property
    def candidates(self) -> int:
        return self.targets.numel()

    def tries(self, numbers: Tensor) -> tuple[Recipe, Tensor]:
        """Of a batch, each image as it is and in the light of its targets.

        Args:
            numbers: (B,) int64, which images these are.

        Returns:
            N rows, and (N,) int64, the row of the batch that each is made of.
        """
        place = torch.searchsorted(self.images, numbers).clamp(max=len(self.images) - 1)
        of = (self.images[place] == numbers).nonzero().flatten()
        target = self.targets[place[of]]
        target = torch.cat([torch.full((len(of), 1), -1), target], dim=1)
        of, target = of.repeat_interleave(target.shape[1]), target.flatten()
        rows = Recipe.clean(numbers[of], torch.zeros_like(of), self.store.regions, len(self.store.space))
        chosen = (target >= 0)[:, None].repeat(1, self.store.regions)
        chosen[:, -1] = False
        recipe = self.store.recipe(rows, target[:, None].expand(-1, self.store.regions), chosen)
        able = recipe.chosen.any(1) | (target < 0)
        return recipe[able], of[able]

    def judged(
        self,
        model: nn.Module,
        numbers: Tensor,
        scenes: Scenes,
        forward_context: Callable[[], AbstractContextManager[Any]] = nullcontext,
        hooks: Callable[[Any], Any] = lambda batch: batch,
        rows: int = _ROWS,
    ) -> Iterator[tuple[Recipe, Verdict]]:
        """Verdicts on the tries of a batch, in parts.

        Args:
            model: that is looked at.
            numbers: (B,) int64, which images these are.
            scenes: of them, as read last.
            forward_context, hooks: see `Mining.judge` and `Mining.offer`.
            rows: candidates at a time.
        """
        tries, of = self.tries(numbers)
        tries = tries.replace(present=scenes.present[of])
        for begin in range(0, len(tries), rows):
            part = slice(begin, begin + rows)
            _, verdict = self.mining.examine(model, scenes, tries[part], of[part], forward_context, hooks)
            yield tries[part], verdict

    def table(self, tries: Recipe, verdict: Verdict, seed: int = 0) -> WhatIf:
        """What came of all tries.

        Args:
            tries: N rows.
            verdict: on them.
            seed: of the bootstrap.
        """
        target = tries.target.amax(1).long()  # one for all areas that it has
        clean = target < 0
        cell = torch.where(clean, -1, self.cell[target.clamp(min=0)])
        score = verdict.area_score.clone()
        score[:, :-1].masked_fill_(~(tries.counted[:, :-1] | clean[:, None]), torch.nan)
        score[:, -1] = verdict.score
        names = (*self.store.areas, IMAGE)
        return what_if(self.environments, names, tries.source.numpy(), cell.numpy(), score.double().numpy(), seed)

    def graph(self, tries: Recipe, verdict: Verdict) -> Graph:
        """The distribution graph of all tries; an accuracy in it is the mean over images."""
        graph, (row, region) = Graph(self.store), tries.counted.nonzero(as_tuple=True)
        place = tries.target[row, region].long(), region
        of_areas = verdict.area_score[row, region]
        total = torch.zeros(graph.uses.shape, dtype=torch.float64)
        scored = torch.zeros_like(total)
        total.index_put_(place, of_areas.double().nan_to_num(), accumulate=True)
        scored.index_put_(place, (~of_areas.isnan()).double(), accumulate=True)
        graph.uses.index_put_(place, torch.ones_like(region), accumulate=True)
        graph.accuracy.copy_(total / scored)
        return graph


def audit(
    module: nn.Module,
    loader: Iterable[Any],
    store: ParameterStore,
    areas: Sequence[str] | None = None,
    view: View | None = None,
    predict: Predict | None = None,
    scoring: Scoring | None = None,
    conversion: Conversion | None = None,
    hooks: Callable[[Any], Any] = lambda batch: batch,
    forward_context: Callable[[], AbstractContextManager[Any]] = nullcontext,
    budget: int = BUDGET,
    seed: int = 0,
) -> WhatIf:
    """Put the images of a loader into every environment of a store, and see in which a module fails.

    The loader is gone through twice: once to count its images and to learn what is usual of their areas.

    Args:
        module: as it is; it is left as it was.
        loader: of labelled batches in any form that `View` reads. Its order need not stay.
        store: colours of the environments.
        areas: names of the areas in label order, see `Mining`.
        view, predict, scoring: see `Mining`.
        conversion: how images are put into another light; colours alone, each image keeping what sets it apart.
        hooks: what a batch goes through before the module takes it, as a DataModule's `on_after_batch_transfer`.
        forward_context: autocast, as the module is used.
        budget: candidates at most, see `Audit`.
        seed: of choice and bootstrap.

    Returns:
        The what-if table; its `table` is a pyarrow table, with `table.to_pandas()` a data frame.

    Raises:
        InputError: no images, or a batch that cannot be told.
    """
    mining = Mining(
        store,
        conversion=conversion or ColorTransfer(individual=True),
        scoring=scoring,
        view=view,
        predict=predict,
        areas=areas,
        seed=seed,
    )
    mining.searches = False
    parameter = next(module.parameters(), None)
    device = torch.device("cpu") if parameter is None else parameter.device

    def batches() -> Iterator[Any]:
        for batch in loader:
            yield tree_map_only(Tensor, lambda value: value.to(device), batch)

    images = _learn(mining, batches())
    looked, begun = Audit(mining, images, budget, seed), 0
    found: list[tuple[Recipe, Verdict]] = []
    for batch in batches():
        scenes = mining.read(batch)
        numbers = torch.arange(begun, begun + len(scenes))
        found += looked.judged(module, numbers, scenes, forward_context, hooks)
        begun += len(scenes)
    if begun != images:
        raise InputError(f"loader: it gave {images} images, and {begun} the second time: give a loader, no iterator")
    tries, verdicts = zip(*found, strict=True)
    return looked.table(Recipe.cat(tries), Verdict.cat(verdicts), seed)


def _learn(mining: Mining, batches: Iterable[Any]) -> int:
    """What is usual of the areas of all images; returns how many images there are."""
    scenes, images = None, 0
    for batch in batches:
        if scenes is not None:
            mining.usual.look(scenes, mining.ranks, last=False)
        scenes = mining.read(batch)
        images += len(scenes)
    if scenes is None:
        raise InputError("loader: it has no batch: give one with labelled images")
    mining.usual.look(scenes, mining.ranks, last=True)
    return images
