"""The distribution graph as a picture (the patent's FIG. 8)."""

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from hardmine.files import write_atomically
from hardmine.memory.graph import Graph
from hardmine.store import ParameterStore


def write_graph(folder: Path, store: ParameterStore, graph: Graph, threshold: float | None = None) -> None:
    """`store.parquet`, `graph.parquet` and `graph.png`: the points, their marks, and a picture of both."""
    store.save(folder / "store.parquet")
    graph.save(folder / "graph.parquet", store)
    draw_graph(folder / "graph.png", store, graph, threshold)


def draw_graph(path: Path, store: ParameterStore, graph: Graph, threshold: float | None) -> None:
    """One panel per area: t_mean against t_std of luminance, or the axes that the conversion has.

    Hollow points are unused, colour is the accuracy there.

    Args:
        path: PNG to write.
        store: the points.
        graph: their marks.
        threshold: Th1, where the colours change from red to blue; None takes the middle of what was measured.
    """
    if threshold is None:
        threshold = float(graph.accuracy.nanmedian().nan_to_num(0.5))
    columns = min(4, len(store.areas))
    rows = -(-len(store.areas) // columns)
    figure = Figure(figsize=(3.2 * columns + 1, 2.8 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    for panel in panels[len(store.areas) :]:
        panel.set_visible(False)
    shown = None
    shown_axes = store.space.graph.nonzero().flatten().tolist()
    across = shown_axes[0]
    up = next((axis for axis in shown_axes if store.space.spread[axis]), shown_axes[-1])
    names = [f"t_{store.space.names[axis]}" for axis in (across, up)]
    for index, (panel, area) in enumerate(zip(panels, store.areas, strict=False)):
        valid = store.valid[:, index].numpy()
        mean, std = store.parameters[:, index, across].numpy(), store.parameters[:, index, up].numpy()
        used = valid & (graph.uses[:, index] > 0).numpy() & ~graph.accuracy[:, index].isnan().numpy()
        panel.scatter(mean[valid & ~used], std[valid & ~used], facecolors="none", edgecolors="0.6", s=22)
        shown = panel.scatter(
            mean[used],
            std[used],
            c=graph.accuracy[:, index].numpy()[used],
            s=26,
            cmap="RdBu",
            vmin=min(2 * threshold - 1, 0.9),
            vmax=1,
            edgecolors="0.3",
            linewidths=0.4,
        )
        panel.set_title(area, fontsize=10)
        panel.set_xlabel(names[0], fontsize=8)
        panel.set_ylabel(names[1], fontsize=8)
    if shown is not None:
        figure.colorbar(shown, ax=panels.tolist(), label="latest accuracy at the point")
    write_atomically(path, lambda file: figure.savefig(file, format="png", dpi=110))
