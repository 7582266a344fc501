"""What a search remembers: pieces, marks on the graph, verdicts, what counts as hard, and when it is over."""

from hardmine.memory.buffer import RecipeBuffer
from hardmine.memory.graph import Graph
from hardmine.memory.hardness import is_hard
from hardmine.memory.ledger import Ledger
from hardmine.memory.stopping import Stopping

__all__ = ["Graph", "Ledger", "RecipeBuffer", "Stopping", "is_hard"]
