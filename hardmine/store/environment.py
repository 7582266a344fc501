"""Environments: the time, the weather, the stain in which a target was taken (R12, R29-R32; D37, D50-D53)."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import product
from math import prod
from typing import Any

import torch
from torch import Tensor

from hardmine.errors import InputError
from hardmine.store.file import WHOLE
from hardmine.store.groups import Groups
from hardmine.store.store import ParameterStore

Wanted = str | Mapping[str, str]  # "sunny night", or {time: night}
Order = Mapping[str, Sequence[str]]
Associations = Mapping[str, Sequence[str]]

_AREA = "object type"  # what D50 calls the area of a cell; stands beside the components where words may name one
_MOST_CELLS = 1024  # a table with more combinations lists those of the store only: adjacency takes their square


def matching(store: ParameterStore, wanted: Wanted | None) -> Tensor:
    """(M,) bool: the targets of an environment; None takes all.

    Args:
        store: with its environment columns.
        wanted: values in any order, or the value of each component that matters.

    Raises:
        InputError: a value that no target has, or that two components have, or no target with all of them.
    """
    match = torch.ones(len(store), dtype=torch.bool)
    if wanted is None:
        return match
    values = {component: sorted(set(entries)) for component, entries in store.environment.items()}
    for component, value in named(wanted, values, "environment", "store").items():
        match &= torch.tensor([entry == value for entry in store.environment[component]])
    if not match.any():
        raise InputError(f"`environment`: no target was taken in {wanted!r}: take another environment", "store")
    return match


def named(wanted: Wanted, values: Mapping[str, Sequence[str]], argument: str, block: str) -> dict[str, str]:
    """The value of each component that `wanted` speaks of.

    Args:
        wanted: see `matching`. A value may have several words; one that two components have is `component=value`.
        values: those of each component.
        argument, block: that said so, for the message; see `InputError`.

    Raises:
        InputError: something unknown, or ambiguous, or two values of one component.
    """
    known = "; ".join(f"{component}: {', '.join(entries)}" for component, entries in values.items())
    if not known:
        raise InputError(
            f"`{argument}`: the store has no environment columns: add some to metadata.csv, or leave `{argument}` out",
            block,
        )
    if not isinstance(wanted, str):
        for component, value in wanted.items():
            if str(value) not in values.get(component, ()):
                raise InputError(f"`{argument}`: no target has {component}={value} ({known}): take one of these", block)
        return {str(component): str(value) for component, value in wanted.items()}
    parts: dict[str, str] = {}
    for name, meanings in _split(wanted, values):
        if len(meanings) != 1:
            why, remedy = f"nothing is called {name!r}", "take some of these"
            if meanings:
                why, remedy = f"more than one component has {name!r}", f"write component={name}"
            raise InputError(f"`{argument}`: {why} ({known}): {remedy}", block)
        component, value = meanings[0]
        if component in parts:
            raise InputError(f"`{argument}`: {wanted!r} has two values of {component}: leave one out", block)
        parts[component] = value
    return parts


def _split(text: str, values: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """The names in a text, the longest possible ones, with the (component, value) pairs that each can mean."""
    meant: dict[str, list[tuple[str, str]]] = {}
    for component, entries in values.items():
        for value in entries:
            meant.setdefault(value, []).append((component, value))
            meant[f"{component}={value}"] = [(component, value)]
    words = text.split()
    while words:
        size = next((n for n in range(len(words), 0, -1) if " ".join(words[:n]) in meant), 1)
        name, words = " ".join(words[:size]), words[size:]
        yield name, meant.get(name, [])


class EnvironmentTable:
    """The environmental light change pattern (FIG. 7): cells, what is beside them, and what is associated with them.

    A cell is a combination of values, one of each component, for one area. The whole image is the last area.

    Args:
        store: its environment columns are the components.
        order: values of a component in their order, for instance {time: [morning, day, night]}: only a step to the
            next one leads to a neighbour. It may name values that no target has: an empty cell. Of a component
            without an order each value is beside every other.
        associations: to each environment those associated with it in advance, for instance
            {"sunny night": ["cloudy night"]}. What an association leaves out it leaves as it is: {"night": ["day"]}
            keeps the weather. With the name of an area among its words it holds for that area only.

    Attributes:
        values: of each component, in order where it has one.
        cells: C names.
        cell: (M,) int64, of each target.
        groups: (C, R) int64, valid parameters of each cell.
        adjacent: (C, C) bool, differs in one component, by one step (R31).
        associated: (R, C, C) bool, from the first C to the second (R32).

    Raises:
        InputError: no environment columns, or words that do not fit them.
    """

    def __init__(
        self, store: ParameterStore, order: Order | None = None, associations: Associations | None = None
    ) -> None:
        if not store.environment:
            raise InputError(
                "the parameter store has no environment columns, of which the environment table is made: add some "
                "(time, weather, ...) to metadata.csv, or take a neighbourhood that needs none"
            )
        order = order or {}
        self.values = _values(store, order)
        of_target = list(zip(*store.environment.values(), strict=True))
        combinations = list(product(*self.values.values())) if _few(self.values) else sorted(set(of_target))
        row = {combination: number for number, combination in enumerate(combinations)}
        self.cells = tuple(" ".join(combination) for combination in combinations)
        self.cell = torch.tensor([row[combination] for combination in of_target])
        self.groups = torch.zeros(len(row), store.regions, dtype=torch.int64)
        self.groups.index_add_(0, self.cell, store.valid.long())
        rank = [{value: number for number, value in enumerate(entries)} for entries in self.values.values()]
        self._codes = torch.tensor([[ranks[v] for ranks, v in zip(rank, c, strict=True)] for c in combinations])
        self.adjacent = self._adjacent(order)
        self.associated = self._associated(store, associations or {})

    @cached_property
    def targets(self) -> Groups:
        """The targets of each cell."""
        return Groups(self.cell, torch.arange(len(self.cell)), len(self.cells))

    def _adjacent(self, order: Order) -> Tensor:
        components = torch.zeros(len(self.cells), len(self.cells), dtype=torch.int64)  # in which two cells differ
        beside = torch.ones_like(components, dtype=torch.bool)
        for component, code in zip(self.values, self._codes.unbind(1), strict=True):
            steps = (code[:, None] - code).abs()
            components += steps > 0
            if component in order:
                beside &= steps <= 1
        return beside & (components == 1)

    def _associated(self, store: ParameterStore, associations: Associations) -> Tensor:
        argument, block = "associations", "environment"
        areas = [*store.areas, WHOLE]
        values = {**self.values, _AREA: areas}
        associated = torch.zeros(len(areas), len(self.cells), len(self.cells), dtype=torch.bool)
        for start, ends in associations.items():
            if not _several(ends):
                raise InputError(f"`{argument}`: {start!r} leads to {ends!r}: write a list, [{ends or ''}]", block)
            source = named(str(start), values, argument, block)
            for end in ends:
                target = {**source, **named(str(end), values, argument, block)}
                if source.get(_AREA, target.get(_AREA)) != target.get(_AREA):
                    raise InputError(
                        f"`{argument}`: {start!r} leads to {end!r}, another area: name the same area in both", block
                    )
                of = slice(None) if _AREA not in target else areas.index(target[_AREA])
                associated[of] |= self._leads(source, target)
        associated[:, torch.arange(len(self.cells)), torch.arange(len(self.cells))] = False
        return associated

    def _leads(self, source: Mapping[str, str], target: Mapping[str, str]) -> Tensor:
        """(C, C) bool: from cells with the values of `source` to the same ones with those of `target`."""
        moved = self._codes.clone()
        fits = torch.ones(len(moved), dtype=torch.bool)
        for column, (component, values) in enumerate(self.values.items()):
            if component in source:
                fits &= self._codes[:, column] == values.index(source[component])
            if component in target:
                moved[:, column] = values.index(target[component])
        return (moved[:, None] == self._codes).all(-1) & fits[:, None]


def _values(store: ParameterStore, order: Order) -> dict[str, tuple[str, ...]]:
    block = "environment"
    for component, entries in order.items():
        if component not in store.environment:
            raise InputError(
                f"`order`: no component is called {component!r}: take some of {', '.join(store.environment)}", block
            )
        if not _several(entries) or len(set(entries)) < len(entries):
            raise InputError(f"`order.{component}`: {entries!r}: write a list that has each value once", block)
        lacking = sorted(set(store.environment[component]) - {str(entry) for entry in entries})
        if lacking:
            raise InputError(
                f"`order.{component}`: {', '.join(map(repr, lacking))} of the store is missing: add it", block
            )
    return {
        component: tuple(str(entry) for entry in order.get(component, sorted(set(entries))))
        for component, entries in store.environment.items()
    }


def _several(values: Any) -> bool:
    return isinstance(values, Iterable) and not isinstance(values, str | Mapping)


def _few(values: Mapping[str, Sequence[str]]) -> bool:
    return prod(map(len, values.values())) <= _MOST_CELLS
