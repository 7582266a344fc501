"""What was aimed at, and what the stored results come to."""

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np

from hardmine.errors import InputError
from quality.compare import CLOCK, COMPARATORS, BySeed, Group, GroupKey, Runs, at_steps, paired, reach, shared_steps
from quality.results import Curve

OURS, FIRST = "hardmine", "first_embodiment"
# differences are in points, as the metrics are in %
GOALS: dict[str, Callable[[float], bool]] = {
    "updates_ratio": lambda value: value <= 1 / 2,
    "pieces_ratio": lambda value: value <= 1 / 10,
    "gain_vs_best": lambda value: value >= 2,
    "gain_vs_best_s8": lambda value: value >= 2,
    "gain_with_targets": lambda value: value >= 2,
    "day_change": lambda value: value >= -0.5,
    "pieces_second_vs_first": lambda value: value <= 1 / 10,
    "hit_ratio": lambda value: value >= 3,
}
KIND_GOALS: dict[str, Callable[[float], bool]] = {
    "worst_gap": lambda value: value >= -0.5,
    "wins": lambda value: value >= 3,
    "source_loss": lambda value: value <= 2,
}
KIND_RIVALS = ("none", "color_jitter", "random", "mixture")
_NEEDED = {  # methods by store and regime
    ("m64", False): (*COMPARATORS, FIRST, OURS),
    ("s8", False): (*COMPARATORS, OURS),
    ("s8", True): ("none", OURS),
}


def check(groups: Sequence[Group], protocol: str, size: str, seeds: Sequence[int]) -> dict[str, Any]:
    """All figures for one protocol and size, and whether each reaches its goal.

    Args:
        groups: see there.
        protocol, size: which.
        seeds: to ask for where there is no result at all.

    Raises:
        InputError: a run is missing; the message says which, and the command that makes it.
    """
    there = {group.key: group for group in groups}
    keys = {needed: GroupKey(protocol, size, *needed) for needed in _NEEDED}
    chosen = {needed: there.get(key, Group(key, {}, "")) for needed, key in keys.items()}
    _refuse_missing([(chosen[needed], methods) for needed, methods in _NEEDED.items()], seeds)
    mixed, plain, labelled = chosen["m64", False], chosen["s8", False], chosen["s8", True]
    best, best_s8 = str(mixed.best()), str(plain.best())
    day = mixed.ends(OURS, mixed.source)
    changes = {
        "gain_vs_best": paired(mixed.at_equal_time(OURS), mixed.ends(best, mixed.shifted)),
        "gain_vs_best_s8": paired(plain.at_equal_time(OURS), plain.ends(best_s8, plain.shifted)),
        "gain_with_targets": paired(labelled.ends(OURS, labelled.shifted), labelled.ends("none", labelled.shifted)),
        "day_change": paired(day, mixed.ends(best, mixed.source)),
        "day_change_vs_none": paired(day, mixed.ends("none", mixed.source)),
    }
    points = {name: {seed: change * 100 for seed, change in of.items()} for name, of in changes.items()}
    ours, clock, first = (mixed.runs(method) for method in (OURS, CLOCK, FIRST))
    metric = mixed.shifted
    ratios: dict[str, tuple[float | None, Mapping[int, float | None]]] = {
        name: (ratio(ours, other, metric), _by_seed(ratio, ours, other, metric))
        for name, ratio, other in (
            ("updates_ratio", updates_ratio, clock),
            ("pieces_ratio", pieces_ratio, clock),
            ("pieces_second_vs_first", pieces_ratio, first),
        )
    }
    hits = {seed: hit_ratio(curve) for seed, curve in ours.items()}
    known = [value for value in hits.values() if value is not None]
    ratios["hit_ratio"] = (median(known) if known else None, hits)
    figures: dict[str, tuple[float | None, Mapping[int, float | None]]]
    figures = {**ratios, **{name: (median(of.values()) if of else None, of) for name, of in points.items()}}
    return {
        "protocol": protocol,
        "size": size,
        **{name: _rounded(value) for name, (value, _) in figures.items()},
        "best": {"gain_vs_best": best, "gain_vs_best_s8": best_s8, "day_change": best},
        "seeds": {name: sorted(of) for name, (_, of) in figures.items()},
        "spread": {name: _spread(of) for name, (_, of) in figures.items()},
        "goals": {name: (value := figures[name][0]) is not None and goal(value) for name, goal in GOALS.items()},
    }


def every_kind(groups: Sequence[Group], protocols: Sequence[str], size: str, seeds: Sequence[int]) -> dict[str, Any]:
    """How the default does on each kind of data; in points, of medians over the seeds that a kind has.

    Args:
        groups: see there.
        protocols: the kinds.
        size: of their images.
        seeds: to ask for where there is no result at all.

    Returns:
        `worst_gap`, the least distance from the best rival; `wins`, on how many kinds it is above all rivals;
        `source_loss`, the largest fall on the source against training without conversion; and what they are made of.

    Raises:
        InputError: a run is missing.
    """
    there = {group.key: group for group in groups}
    keys = [GroupKey(protocol, size, "m64", False) for protocol in protocols]
    chosen = [there.get(key, Group(key, {}, "")) for key in keys]
    _refuse_missing([(group, (*KIND_RIVALS, OURS)) for group in chosen], seeds, same=False)
    kinds: dict[str, dict[str, Any]] = {}
    for group in chosen:
        shifted = {method: median(group.ends(method, group.shifted).values()) for method in (*KIND_RIVALS, OURS)}
        source = {method: median(group.ends(method, group.source).values()) for method in ("none", OURS)}
        best = max(KIND_RIVALS, key=lambda method: shifted[method])
        kinds[group.key.protocol] = {
            "gap": round((shifted[OURS] - shifted[best]) * 100, 2),
            "best": best,
            "source_loss": round((source["none"] - source[OURS]) * 100, 2),
            "shifted": {method: round(value * 100, 2) for method, value in shifted.items()},
            "seeds": sorted(group.ends(OURS, group.shifted)),
        }
    figures = {
        "worst_gap": min(kind["gap"] for kind in kinds.values()),
        "wins": sum(kind["gap"] > 0 for kind in kinds.values()),
        "source_loss": max(kind["source_loss"] for kind in kinds.values()),
    }
    return {**figures, "kinds": kinds, "goals": {name: goal(figures[name]) for name, goal in KIND_GOALS.items()}}


def updates_ratio(ours: Runs, other: Runs, metric: str) -> float | None:
    """Updates until our median curve is where the other's ends, as a share of the other's; None: it never is."""
    step = _reached(ours, other, metric)
    return None if step is None else step / median(float(curve.measured(metric)[0][-1]) for curve in other.values())


def pieces_ratio(ours: Runs, other: Runs, metric: str) -> float | None:
    """Our pieces when our median curve is where the other's ends, as a share of the other's; None: it never is."""
    step = _reached(ours, other, metric)
    pieces = median(float(curve.counts["pieces"][-1]) for curve in other.values())
    if step is None or not pieces:
        return None
    return float(np.median(at_steps(ours, "pieces", np.array([step])))) / pieces


def hit_ratio(curve: Curve) -> float | None:
    """How much oftener a neighbour is hard than a first candidate, over the run; None: one of them never was tried."""
    last = {name: float(counts[-1]) for name, counts in curve.counts.items()}
    if not last["neighbours"] or not last["first_pieces"]:
        return None
    return last["neighbour_pieces"] / last["neighbours"] / (last["first_pieces"] / last["first"])


def _reached(ours: Runs, other: Runs, metric: str) -> float | None:
    steps = shared_steps(ours, metric)
    if not len(steps) or not other:
        return None
    return reach(steps, np.median(at_steps(ours, metric, steps), 0), median(run.end(metric) for run in other.values()))


def _by_seed(ratio: Callable[[Runs, Runs, str], float | None], ours: Runs, other: Runs, metric: str) -> Any:
    return {seed: ratio({seed: ours[seed]}, {seed: other[seed]}, metric) for seed in sorted(ours.keys() & other.keys())}


def _spread(values: Mapping[int, float | None]) -> list[float | None]:
    """Lowest and highest; what never happened counts as the highest."""
    ordered = sorted(math.inf if value is None else value for value in values.values()) or [math.inf]
    return [_rounded(value) for value in (ordered[0], ordered[-1])]


def _rounded(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, 4)


def _refuse_missing(needed: Sequence[tuple[Group, Sequence[str]]], default: Sequence[int], same: bool = True) -> None:
    """Refuse where a method lacks seeds that others have, in any group or, without `same`, in its own."""
    measured: list[tuple[GroupKey, dict[str, BySeed]]] = [
        (group.key, {method: group.ends(method, group.shifted) for method in methods}) for group, methods in needed
    ]
    every = {seed for _, of in measured for ends in of.values() for seed in ends}
    several = len({key.protocol for key, _ in measured}) > 1
    missing, commands = [], []
    for key, of in measured:
        wanted = (every if same else {seed for ends in of.values() for seed in ends}) or set(default)
        lacking = {method: wanted - ends.keys() for method, ends in of.items() if wanted - ends.keys()}
        if not lacking:
            continue
        regime = ", ".join(filter(None, (key.protocol if several else "", key.store, "targets" if key.targets else "")))
        alike: dict[str, list[str]] = {}
        for method, gone in lacking.items():
            alike.setdefault(_listed(gone), []).append(method)
        missing += [f"{', '.join(names)} ({regime}; seeds {gone})" for gone, names in alike.items()]
        seeds = set().union(*lacking.values())
        commands.append(
            f"scripts/benchmark_quality root=PATH protocol={key.protocol} size={key.size} method={','.join(lacking)} "
            f"store={key.store} targets={str(key.targets).lower()} seed={_listed(seeds)}"
        )
    if missing:
        raise InputError(f"missing {'; '.join(missing)}: run {' && '.join(commands)}")


def _listed(seeds: set[int]) -> str:
    return ",".join(str(seed) for seed in sorted(seeds))
