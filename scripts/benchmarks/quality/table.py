"""Results as Markdown."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import isfinite
from statistics import mean, median

from quality.compare import BySeed, Group, middle, paired
from quality.results import COUNTS

_KINDS = (("neighbour", "neighbours"), ("first", "first"))  # of candidates: what their pieces and they are counted as


def method_tables(
    groups: Iterable[Group],
    titles: Mapping[str, str],
    metrics: Mapping[str, str],
    without: Mapping[str, tuple[str, str]] | None = None,
) -> str:
    """A table for each group: what every method comes to at the end.

    Args:
        groups: see there.
        titles: of the methods.
        metrics: how the metric of each protocol is called.
        without: of some protocols, what metrics of single classes begin with after `test/`, and a class that has most
            of the pixels: the mean over the others stands beside that over all.
    """
    return _sections(
        groups,
        lambda group: _methods(group, titles, metrics[group.key.protocol], (without or {}).get(group.key.protocol)),
    )


def class_tables(groups: Iterable[Group], titles: Mapping[str, str], prefixes: Mapping[str, str | None]) -> str:
    """A table for each group: medians at the end for each class, on the shifted images.

    Args:
        groups: see there.
        titles: of the methods.
        prefixes: of each protocol, what metrics of single classes begin with after `test/`; None: there are none.
    """
    with_classes = [group for group in groups if prefixes[group.key.protocol]]
    return _sections(with_classes, lambda group: _classes(group, titles, f"test/{prefixes[group.key.protocol]}/"))


def _sections(groups: Iterable[Group], table: Callable[[Group], str]) -> str:
    return "\n\n".join(f"### {group.key.title}\n\n{table(group)}\n\n{_footer(group)}" for group in groups)


def _methods(group: Group, titles: Mapping[str, str], metric: str, without: tuple[str, str] | None) -> str:
    best = group.best()
    heads = [
        "method",
        f"{metric} shifted (min to max)",
        f"against {titles.get(best, best) if best else 'the best comparator'}",
        "at equal time",
        *([f"without {without[1]}"] if without else []),
        f"{metric} source",
        "against none",
        "pieces",
        "hits, neighbours / first",
        "seconds",
        "seeds",
    ]
    best_ends = group.ends(best, group.shifted) if best else {}
    none_ends = group.ends("none", group.source)
    rows = []
    for method, runs in group.methods.items():
        ends, source = group.ends(method, group.shifted), group.ends(method, group.source)
        last = {name: [float(curve.counts[name][-1]) for curve in runs.values()] for name in COUNTS}
        timed = paired(group.at_equal_time(method), best_ends)
        hits = [_percent(last[f"{kind}_pieces"], last[whole]) for kind, whole in _KINDS]
        rows.append(
            [
                _name(method, titles),
                _spread(ends),
                "" if method == best else _change(paired(ends, best_ends)),
                _change(timed) if len(timed) == len(runs) else "",  # other seeds than beside it would be no comparison
                *([_number(middle(_of_others(group, method, *without)))] if without else []),
                _number(middle(source)),
                "" if method == "none" else _change(paired(source, none_ends)),
                f"{median(last['pieces']):.0f}",
                " / ".join(hits) if last["pieces"] != last["candidates"] else "",
                f"{median(last['seconds']):.0f}",
                str(len(runs)),
            ]
        )
    return _markdown(heads, rows)


def _of_others(group: Group, method: str, prefix: str, left_out: str) -> BySeed:
    """Mean over the classes that occur, all but one."""
    start = f"test/{prefix}/"
    of_seed: BySeed = {}
    for seed, curve in group.runs(method).items():
        ends = [curve.end(name) for name in curve.values if name.startswith(start) and name != start + left_out]
        known = [end for end in ends if isfinite(end)]
        if known:
            of_seed[seed] = mean(known)
    return of_seed


def _classes(group: Group, titles: Mapping[str, str], prefix: str) -> str:
    curves = [curve for runs in group.methods.values() for curve in runs.values()]
    names = sorted({name.removeprefix(prefix) for curve in curves for name in curve.values if name.startswith(prefix)})
    rows = [
        [_name(method, titles), *(_number(middle(group.ends(method, f"{prefix}{name}"))) for name in names)]
        for method in group.methods
    ]
    return _markdown(["method", *names], rows)


def _footer(group: Group) -> str:
    curves = [curve for runs in group.methods.values() for curve in runs.values()]
    machines = "; ".join(sorted({curve.machine or "unknown machine" for curve in curves}))
    versions = ", ".join(sorted({curve.version or "unknown" for curve in curves}))
    seeds = ", ".join(str(seed) for seed in sorted({seed for runs in group.methods.values() for seed in runs}))
    return f"In %, medians over seeds, changes paired by seed. {machines}; version {versions}; seeds {seeds}."


def _markdown(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    rule = ["---", *["---:"] * (len(heads) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, rule, *rows))


def _name(method: str, titles: Mapping[str, str]) -> str:
    return f"{titles.get(method, method)} (`method={method}`)"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value * 100:.1f}"


def _spread(values: BySeed) -> str:
    if not values:
        return ""
    return f"{_number(middle(values))} ({_number(min(values.values()))} to {_number(max(values.values()))})"


def _change(values: BySeed) -> str:
    change = middle(values)
    return "" if change is None else f"{change * 100:+.1f}"


def _percent(parts: Sequence[float], wholes: Sequence[float]) -> str:
    shares = [part / whole for part, whole in zip(parts, wholes, strict=True) if whole]
    return f"{median(shares) * 100:.0f}" if shares else "-"
