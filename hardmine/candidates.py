"""What one training batch offers to the scoring callback."""

from typing import Any

from torch import Tensor

from hardmine.miner import Miner
from hardmine.records import Recipe
from hardmine.scenes import Scenes

KEY = "hardmine"  # under which a batch carries its `Candidates`


class Candidates:
    """Converted images of one rank, not yet judged. No dataclass: Lightning looks for batch sizes in those.

    Attributes:
        batch: the batch of candidates as the model takes it, B * K rows.
        recipe: candidates of all ranks, on the CPU.
        mine: those of this rank, B * K rows.
        miner: who judges them.
        source: B scenes before the conversion.
        converted: B * K scenes after it.
        capped: (B * K,) share of areas whose parameter met a limit.
    """

    def __init__(
        self,
        batch: dict[str, Any],
        recipe: Recipe,
        mine: Recipe,
        miner: Miner,
        source: Scenes,
        converted: Scenes,
        capped: Tensor,
    ) -> None:
        self.batch, self.recipe, self.mine, self.miner = batch, recipe, mine, miner
        self.source, self.converted, self.capped = source, converted, capped
        self.prediction: Any = None  # of the model, once scored
        self.score: Tensor | None = None  # (B * K,) once judged
