"""Paired comparisons: runs of the same protocol, size, store and regime, seed by seed."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

import numpy as np

from quality.results import Curve, Floats, Key

COMPARATORS = ("none", "color_jitter", "trivial_augment", "adversarial_style", "random", "mixture")
CLOCK = "random"  # the method whose time the others are given at equal wall-clock

Runs = Mapping[int, Curve]  # of one method, by seed
BySeed = dict[int, float]


class GroupKey(NamedTuple):
    """What runs have in common that can be compared."""

    protocol: str
    size: str
    store: str
    targets: bool

    @property
    def name(self) -> str:
        return "-".join(filter(None, (self.protocol, self.size, self.store, "targets" if self.targets else "")))

    @property
    def title(self) -> str:
        regime = "labelled targets" if self.targets else "statistics only"
        store = self.store and f"store {self.store}"
        return ", ".join(filter(None, (f"{self.protocol} ({self.size})", store, regime)))


@dataclass(frozen=True)
class Group:
    """The runs of one group, by method and seed; methods that use no store belong to the group of each store."""

    key: GroupKey
    methods: dict[str, dict[int, Curve]]
    metric: str

    @property
    def shifted(self) -> str:
        return f"test/{self.metric}"

    @property
    def source(self) -> str:
        return f"val/{self.metric}"

    def runs(self, method: str) -> dict[int, Curve]:
        return self.methods.get(method, {})

    def ends(self, method: str, metric: str) -> BySeed:
        return _finite({seed: curve.end(metric) for seed, curve in self.runs(method).items()})

    def at_equal_time(self, method: str) -> BySeed:
        """The shifted metric when `CLOCK` of the same seed had made all of its updates; a faster run's end.

        Seconds of one machine say nothing about those of another, so only pairs of runs made on the same count.
        """
        clocks = {seed: curve.measured(self.shifted, "seconds")[0] for seed, curve in self.runs(CLOCK).items()}
        return _finite(
            {
                seed: curve.at(self.shifted, "seconds", clocks[seed][-1])
                for seed, curve in self.runs(method).items()
                if seed in clocks and len(clocks[seed]) and curve.machine == self.runs(CLOCK)[seed].machine
            }
        )

    def best(self) -> str | None:
        """The comparator with the highest median at the end."""
        ends = {method: self.ends(method, self.shifted) for method in COMPARATORS}
        medians = {method: median(values.values()) for method, values in ends.items() if values}
        return max(medians, key=lambda method: medians[method], default=None)


def groups(
    curves: Mapping[Key, Curve], metrics: Mapping[str, str], methods: Collection[str], stores: Collection[str] = ()
) -> list[Group]:
    """All groups there are runs of.

    Args:
        curves: as read.
        metrics: name of the metric for each protocol.
        methods: in the order wanted; others come after them.
        stores: that there is a group of even where only methods without a store were run.
    """
    order = {method: index for index, method in enumerate(methods)}
    found: dict[GroupKey, dict[str, dict[int, Curve]]] = {}
    used = {(*key[:2], key.targets): set(stores) for key in curves}
    for key in curves:
        used[*key[:2], key.targets] |= {key.store} - {""}
    for key, curve in sorted(curves.items(), key=lambda item: (order.get(item[0].method, len(order)), item[0])):
        for store in [key.store] if key.store else sorted(used[*key[:2], key.targets]) or [""]:
            group = found.setdefault(GroupKey(key.protocol, key.size, store, key.targets), {})
            group.setdefault(key.method, {})[key.seed] = curve
    places = {protocol: index for index, protocol in enumerate(metrics)}
    return [
        Group(key, found[key], metrics[key.protocol])
        for key in sorted(found, key=lambda key: (places[key.protocol], key.size, key.targets, key.store))
    ]


def paired(values: BySeed, others: BySeed) -> BySeed:
    """Differences seed by seed, where both have one."""
    return {seed: values[seed] - others[seed] for seed in sorted(values.keys() & others.keys())}


def middle(values: Mapping[int, float]) -> float | None:
    return median(values.values()) if values else None


def shared_steps(runs: Runs, metric: str) -> Floats:
    """Steps that lie within the curve of every seed."""
    steps = [curve.measured(metric)[0] for curve in runs.values()]
    if not steps or any(len(of_run) == 0 for of_run in steps):
        return np.empty(0)
    every = np.unique(np.concatenate(steps))
    within = (every >= max(of_run[0] for of_run in steps)) & (every <= min(of_run[-1] for of_run in steps))
    shared: Floats = every[within]
    return shared


def at_steps(runs: Runs, name: str, steps: Floats) -> Floats:
    """(seeds, P) of a metric or a count, at steps."""
    rows = []
    for curve in runs.values():
        known = (curve.counts["step"], curve.counts[name]) if name in curve.counts else curve.measured(name)
        rows.append(np.interp(steps, *known))
    return np.array(rows)


def reach(steps: Floats, values: Floats, level: float) -> float | None:
    """The first step at which a curve is at `level`, between two points on a line; None if it never is."""
    above = np.flatnonzero(values >= level)
    if not len(above):
        return None
    index = int(above[0])
    if index == 0:
        return float(steps[0])
    share = (level - values[index - 1]) / (values[index] - values[index - 1])
    return float(steps[index - 1] + share * (steps[index] - steps[index - 1]))


def _finite(values: BySeed) -> BySeed:
    return {seed: value for seed, value in values.items() if np.isfinite(value)}
