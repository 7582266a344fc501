"""One image in a light that a person chooses: converted, judged, and what lies near; no page is needed for it."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any

import torch
from torch import Tensor, nn

from hardmine.candidates import Candidates
from hardmine.conversions import ColorTransfer
from hardmine.memory.graph import Graph
from hardmine.mining import Mining
from hardmine.neighbourhood import Neighbourhood, Random
from hardmine.records import Recipe, Verdict
from hardmine.rng import keyed
from hardmine.space import COLORS, Axis
from hardmine.store import ParameterStore


@dataclass(frozen=True)
class Light:
    """What a person has set for an image of R regions, the areas and, last, the whole image.

    Attributes:
        chosen: (R,) bool, the regions that are converted.
        parameter: (R, D) float32, of each region at full strength.
        target: (R,) int64, row of the store that a parameter is of; -1 where it was set by hand or generated.
        strength: in [0, 1], how far the colours go from the image's own to the parameter.
    """

    chosen: Tensor
    parameter: Tensor
    target: Tensor
    strength: float = 1.0

    def moved(self, region: int, axis: int, value: float) -> "Light":
        """With one number of a region set by hand."""
        parameter, target = self.parameter.clone(), self.target.clone()
        parameter[region, axis], target[region] = value, -1
        return replace(self, parameter=parameter, target=target)

    def at(self, strength: float) -> "Light":
        """With another strength."""
        return replace(self, strength=strength)

    def taking(self, chosen: Tensor, parameter: Tensor) -> "Light":
        """With the parameters (R, D) of the chosen regions (R,) and of no other, at full strength."""
        parameter = torch.where(chosen[:, None], parameter, self.parameter)
        return Light(chosen.clone(), parameter, torch.full_like(self.target, -1))

    def converting(self, region: int, wanted: bool) -> "Light":
        """With a region chosen, or left as it is."""
        chosen = self.chosen.clone()
        chosen[region] = wanted
        return replace(self, chosen=chosen)


@dataclass(frozen=True)
class Opened:
    """An image that is looked at.

    Attributes:
        batch: of this image alone, as the data set yields it.
        present: (R,) bool, the regions that it has.
        own: (R, D) float32, the parameters that leave it as it is; None where a conversion needs no colours.
        clean: its verdict as it is, 1 row.
        graph: which parameters it has been put into.
    """

    batch: Any
    present: Tensor
    own: Tensor | None
    clean: Verdict
    graph: Graph


class Explorer:
    """Puts images into light, and walks from one parameter to the next as a search does.

    Several people may ask at a time; they are answered one after the other.

    Args:
        mining: of the images, with colours alone.
        model: on its device; it is left as it was.
        policies: neighbourhood policies by name.
        batch: of any image, which tells what the images are.
        forward_context, hooks: see `Mining.judge` and `Mining.offer`.
    """

    def __init__(
        self,
        mining: Mining,
        model: nn.Module,
        policies: Mapping[str, Neighbourhood],
        batch: Any,
        forward_context: Callable[[], AbstractContextManager[Any]] = nullcontext,
        hooks: Callable[[Any], Any] = lambda batch: batch,
    ) -> None:
        mining.searches = False
        mining.read(batch)
        assert mining.miner is not None
        self.mining, self.miner, self.model, self.policies = mining, mining.miner, model, dict(policies)
        self._forward_context, self._hooks = forward_context, hooks
        self._lock, self._steps = Lock(), 0

    @property
    def store(self) -> ParameterStore:
        """With the areas in the order of the images', and the axes of the conversion."""
        return self.miner.store

    @property
    def axes(self) -> tuple[Axis, ...]:
        """The D numbers of a parameter."""
        return self.store.space.axes

    @property
    def colored(self) -> bool:
        """Whether parameters are colours, which an image has of its own, so that there is a way between the two."""
        return isinstance(self.miner.conversion, ColorTransfer)

    def open(self, batch: Any) -> Opened:
        """Look at an image as it is.

        Args:
            batch: of one image, on the device of the model.
        """
        with self._lock:
            scenes = self.mining.read(batch)
            conversion, own = self.miner.conversion, None
            if isinstance(conversion, ColorTransfer):
                own = conversion.unchanged(scenes, self._clean().source)[0]
            rows = self._clean().replace(present=scenes.present)
            _, verdict = self._examined(scenes, rows)
            return Opened(batch, scenes.present[0], own, verdict, Graph(self.store, grows=True))

    def recipe(self, opened: Opened, light: Light) -> Recipe:
        """1 row: what is converted, at the strength that is set."""
        parameter, target = light.parameter, light.target
        if opened.own is not None and light.strength < 1:
            parameter = opened.own + light.strength * (parameter - opened.own)
            target = torch.full_like(target, -1)
        return self._clean().replace(
            chosen=light.chosen[None],
            present=opened.present[None],
            parameter=torch.where(light.chosen[:, None], parameter, 0.0)[None],
            target=torch.where(light.chosen, target, -1).int()[None],
        )

    def converted(self, opened: Opened, light: Light) -> tuple[Candidates, Verdict]:
        """The image in a light, and what the model makes of it, 1 row."""
        recipe = self.recipe(opened, light)
        with self._lock:
            made, verdict = self._examined(self.mining.read(opened.batch), recipe)
            opened.graph.update(recipe, verdict)
        return made, verdict

    def of_target(self, opened: Opened, target: int, light: Light | None = None) -> Light:
        """The parameters of a stored target; a region that it lacks keeps what it has.

        Args:
            opened: the image.
            target: row of the store.
            light: that it is put into; None is its own, of which all areas are converted that both have.
        """
        there, every = self.store.offered[target], torch.ones(self.store.regions, dtype=torch.bool)
        _, parameter, _ = self.store.of_targets(torch.full_like(every, target, dtype=torch.int64)[None], every[None])
        before = self.unconverted(opened) if light is None else light
        made = replace(
            before,
            parameter=torch.where(there[:, None], parameter[0], before.parameter),
            target=torch.where(there, target, before.target),
        )
        if light is not None:
            return made
        chosen = there & opened.present
        chosen[-1] = False
        return replace(made, chosen=chosen)

    def unconverted(self, opened: Opened) -> Light:
        """Nothing is converted yet; moving on starts from the image's own colours, or the least of each axis."""
        own = self.store.space.low.expand(self.store.regions, -1) if opened.own is None else opened.own
        none = torch.zeros(self.store.regions, dtype=torch.bool)
        return Light(none, own.clone(), torch.full((len(none),), -1))

    def neighbour(self, opened: Opened, light: Light, policy: str) -> Light | None:
        """Where a search would go from a light; as in a search, what the image has been put into is used.

        Args:
            opened: the image.
            light: that it is in, at the strength that is set.
            policy: name of one. `Random` knows no neighbours and gives a first parameter.

        Returns:
            At full strength; None where there is no neighbour.

        Raises:
            InputError: what the policy lacks, environments for instance.
        """
        rows, near = self.recipe(opened, light), self.policies[policy]
        with self._lock:
            self._steps += 1
            generator = keyed(self.mining.seed, "explore", self._steps)
            found, there = near(rows, self.store, opened.graph, generator)
            if isinstance(near, Random):
                found = self.miner.begin(rows, generator)
                there = found.counted.any(1)
        if not there:
            return None
        chosen = found.chosen[0]
        parameter = torch.where(chosen[:, None], found.parameter[0], light.parameter)
        return Light(chosen, parameter, torch.where(chosen, found.target[0].long(), light.target))

    def _clean(self) -> Recipe:
        zero = torch.zeros(1, dtype=torch.int64)
        return Recipe.clean(zero, zero, self.store.regions, len(self.store.space))

    def _examined(self, scenes: Any, recipe: Recipe) -> tuple[Candidates, Verdict]:
        return self.mining.examine(
            self.model, scenes, recipe, torch.zeros(1, dtype=torch.int64), self._forward_context, self._hooks
        )


def bounds(axis: Axis) -> tuple[float, float]:
    """What may be set by hand.

    >>> from hardmine.space import LAB
    >>> bounds(LAB.axes[0]), bounds(LAB.axes[3])
    ((0, 100), (0.5, 50.0))
    """
    if axis.high != torch.inf:
        return axis.low, axis.high
    known = {other.name: other for colors in COLORS.values() for other in colors.axes}
    mean = known[axis.name.replace("std_", "mean_", 1)]
    return axis.low, (mean.high - mean.low) / 2  # half of it at either end
