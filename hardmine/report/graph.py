"""The distribution graph as a picture (the patent's FIG. 8)."""

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from hardmine.files import write_atomically
from hardmine.memory.graph import Graph
from hardmine.space import in_words
from hardmine.store import ParameterStore

SCALE = "cividis"  # dark blue to yellow: told apart by those who see no red and green, and in grey
EXPLAINED = "Each point is a stored parameter, its colour the accuracy there; hollow ones were not used."


def write_graph(folder: Path, store: ParameterStore, graph: Graph, threshold: float | None = None) -> None:
    """`store.parquet`, `graph.parquet` and `graph.png`: the points, their marks, and a picture of both."""
    store.save(folder / "store.parquet")
    graph.save(folder / "graph.parquet", store)
    draw_graph(folder / "graph.png", store, graph, threshold)


def draw_graph(path: Path, store: ParameterStore, graph: Graph, threshold: float | None) -> None:
    """One panel per area: mean against standard deviation of luminance, or the axes that the conversion has.

    Hollow points are unused, colour is the accuracy there; colours and words are those of the page.

    Args:
        path: PNG to write.
        store: the points.
        graph: their marks.
        threshold: Th1, a line on the scale; None draws none.
    """
    columns = min(4, len(store.areas))
    rows = -(-len(store.areas) // columns)
    figure = Figure(figsize=(3.2 * columns + 1, 2.8 * rows + 0.4), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    for panel in panels[len(store.areas) :]:
        panel.set_visible(False)
    shown = None
    shown_axes = store.space.graph.nonzero().flatten().tolist()
    across = shown_axes[0]
    up = next((axis for axis in shown_axes if store.space.spread[axis]), shown_axes[-1])
    names = [in_words(store.space.names[axis]) for axis in (across, up)]
    for index, (panel, area) in enumerate(zip(panels, store.areas, strict=False)):
        valid = store.valid[:, index].numpy()
        mean, std = store.parameters[:, index, across].numpy(), store.parameters[:, index, up].numpy()
        used = valid & (graph.uses[:, index] > 0).numpy() & ~graph.accuracy[:, index].isnan().numpy()
        panel.scatter(
            mean[valid & ~used], std[valid & ~used], facecolors="none", edgecolors="0.5", linestyle="--", s=22
        )
        shown = panel.scatter(
            mean[used],
            std[used],
            c=graph.accuracy[:, index].numpy()[used],
            s=26,
            cmap=SCALE,
            vmin=0,
            vmax=1,
            edgecolors="0.3",
            linewidths=0.4,
        )
        panel.set_title(area, fontsize=10)
        panel.tick_params(labelsize=8)
    figure.supxlabel(names[0], fontsize=9)
    figure.supylabel(names[1], fontsize=9)
    figure.suptitle(EXPLAINED, fontsize=9)
    if shown is not None:
        scale = figure.colorbar(shown, ax=panels.tolist(), format=PercentFormatter(1.0))
        said = "recognition accuracy,\nthe latest at the point"
        if threshold is not None and 0 <= threshold <= 1:
            scale.ax.axhline(threshold, color="white", linewidth=3)
            scale.ax.axhline(threshold, color="black", linewidth=1.2)
            said += f";\nline: threshold, {threshold:.0%}"
        scale.set_label(said, fontsize=9)
    write_atomically(path, lambda file: figure.savefig(file, format="png", dpi=110))
