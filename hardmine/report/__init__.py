"""What a run shows when it is over."""

from hardmine.report.graph import write_graph
from hardmine.report.table import environment_table

__all__ = ["environment_table", "write_graph"]
