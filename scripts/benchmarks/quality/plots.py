"""Results as pictures: what a method reaches, and how often its candidates are hard."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from hardmine.files import write_atomically
from quality.compare import Group, Runs, at_steps, shared_steps
from quality.results import Floats

# Okabe and Ito's, told apart by colour-blind readers; their yellow, too pale on white, is made darker
_COLORS = ("#000000", "#56B4E9", "#CC79A7", "#B8A800", "#E69F00", "#009E73", "#0072B2", "#D55E00")
_LINES = ("-", "--", ":", "-.")
_DPI = 100  # of a figure 12 inches wide: 1200 pixels
_PANELS = (("step", "updates"), ("seconds", "seconds"), ("pieces", "unique pieces"))


def draw(folder: Path, group: Group, titles: dict[str, str], metric: str, shown: Sequence[str]) -> list[Path]:
    """`<group>.png` and `<group>-hits.png`.

    Args:
        folder: where they are written.
        group: the runs.
        titles: of all methods.
        metric: how the metric is called.
        shown: methods to draw; the place of one among them fixes its colour.
    """
    styles = {method: _style(place, titles[method]) for place, method in enumerate(shown) if method in titles}
    methods = [method for method in group.methods if method in shown and method in styles]
    pictures = {f"{group.key.name}.png": Figure(figsize=(12, 4.4), dpi=_DPI, layout="constrained")}
    pictures[f"{group.key.name}-hits.png"] = Figure(figsize=(12, 4.4), dpi=_DPI, layout="constrained")
    reached, hits = pictures.values()
    _draw_reached(reached, group, {method: styles[method] for method in methods}, metric)
    _draw_hits(hits, group, {method: styles[method] for method in methods})
    for name, figure in pictures.items():
        _write(folder / name, figure, group.key.title)
    return [folder / name for name in pictures]


def _draw_reached(figure: Figure, group: Group, styles: dict[str, dict[str, Any]], metric: str) -> None:
    panels = figure.subplots(1, len(_PANELS), sharey=True)
    for panel, (count, label) in zip(panels, _PANELS, strict=True):
        for method, style in styles.items():
            runs = group.runs(method)
            steps = shared_steps(runs, group.shifted)
            if not len(steps):
                continue
            values = at_steps(runs, group.shifted, steps) * 100
            across = np.median(at_steps(runs, count, steps), axis=0)  # of the seeds, as the line itself is
            if count == "pieces" and not across.any():
                panel.axhline(np.median(values[:, -1]), **{**style, "linestyle": (0, (1, 3))})  # it makes no pieces
                continue
            made = across > 0 if count == "pieces" else np.ones(len(steps), dtype=bool)
            _band(panel, across[made], values[:, made], style)
        panel.set_xlabel(label)
    panels[0].set_ylabel(f"{metric} on shifted images, %")
    panels[-1].set_xscale("log")
    panels[-1].xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panels[-1].xaxis.set_major_formatter("{x:.0f}")
    panels[-1].xaxis.set_minor_formatter(NullFormatter())  # over less than a decade its labels lie upon one another


def _draw_hits(figure: Figure, group: Group, styles: dict[str, dict[str, Any]]) -> None:
    panels = figure.subplots(1, 2, sharey=True)
    for panel, kind, whole in zip(panels, ("neighbour", "first"), ("neighbours", "first"), strict=True):
        for method, style in styles.items():
            runs = group.runs(method)
            steps = shared_steps(runs, group.shifted)
            rates = hit_rates(runs, f"{kind}_pieces", whole, steps)
            tried = np.isfinite(rates).any(axis=0)
            if tried.any() and (rates[:, tried] < 1).any():  # where all are pieces, none was judged
                _band(panel, steps[1:][tried], rates[:, tried] * 100, style)
        panel.set_xlabel("updates")
    panels[0].set_ylabel("neighbours that became pieces, %")
    panels[1].set_ylabel("first candidates that became pieces, %")


def hit_rates(runs: Runs, pieces: str, whole: str, steps: Floats) -> Floats:
    """(seeds, P - 1) share of the candidates made between two steps that became pieces, NaN where none was made."""
    tried, hard = (np.diff(at_steps(runs, name, steps), axis=-1) for name in (whole, pieces))
    rates: Floats = np.divide(hard, tried, out=np.full(tried.shape, np.nan), where=tried > 0)
    return rates


def _band(panel: Any, across: Floats, values: Floats, style: dict[str, Any]) -> None:
    """Median over seeds as a line, from the lowest to the highest as a band."""
    panel.plot(across, np.nanmedian(values, axis=0), **style)
    low, high = np.nanmin(values, axis=0), np.nanmax(values, axis=0)
    panel.fill_between(across, low, high, color=style["color"], alpha=0.13, linewidth=0)


def _style(index: int, title: str) -> dict[str, Any]:
    line = _LINES[index // len(_COLORS) % len(_LINES)]
    return {"color": _COLORS[index % len(_COLORS)], "linestyle": line, "linewidth": 2, "label": title}


def _write(path: Path, figure: Figure, title: str) -> None:
    FigureCanvasAgg(figure)
    entries: dict[str, Any] = {}
    for panel in figure.axes:
        panel.grid(alpha=0.25)
        panel.spines[["top", "right"]].set_visible(False)
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    figure.suptitle(title)
    if entries:
        figure.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=min(6, len(entries)))
    write_atomically(path, lambda file: figure.savefig(file, format="png", dpi=_DPI))
