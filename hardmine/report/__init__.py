"""What a run shows when it is over."""

from hardmine.report.graph import draw_graph
from hardmine.report.table import environment_table

__all__ = ["draw_graph", "environment_table"]
