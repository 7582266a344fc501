"""What a search needs of a run: its sources, its conversion, its model and its ledger."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from hardmine.records import Recipe, Verdict

if TYPE_CHECKING:
    from hardmine.mining import Mining


class MiningProcess:
    """See `hardmine.search.Process`.

    Args:
        mining: of the run.
        load: the batch of the sources of rows, on the device of the model.
        model: that judges, as it is whenever it is asked.
        forward_context, hooks: see `Mining.judge` and `Mining.offer`.
    """

    def __init__(
        self,
        mining: "Mining",
        load: Callable[[Recipe], Any],
        model: nn.Module,
        forward_context: Callable[[], AbstractContextManager[Any]] = nullcontext,
        hooks: Callable[[Any], Any] = lambda batch: batch,
    ) -> None:
        self.mining, self.load, self.model = mining, load, model
        self.forward_context, self.hooks = forward_context, hooks

    def present(self, rows: Recipe) -> Tensor:
        return self.mining.read(self.load(rows)).present

    def convert(self, tries: Recipe) -> None:
        self.mining.convert(tries, self.load, self.hooks)

    def admit(self, tries: Recipe) -> tuple[Recipe, Verdict]:
        return self.mining.verdicts(tries, self.load, self.model, self.forward_context, self.hooks)

    def output(self, candidates: Recipe, verdict: Verdict) -> None:
        self.mining.record(candidates, verdict)

    def scores(self, rows: Recipe) -> Tensor:
        return self.mining.scores(rows, self.load, self.model, self.forward_context, self.hooks)
