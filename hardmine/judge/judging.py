"""The judging of one run: which weights judge, at which size, and what the ranks have told each other of it."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from hardmine.candidates import Candidates
from hardmine.judge.average import Average
from hardmine.judge.gates import Gate
from hardmine.judge.judge import Judge
from hardmine.judge.size import ScoreSize, Wanted
from hardmine.ranks import Ranks, Told
from hardmine.records import Recipe

_STEPS = 4  # of the model for each of the average, which is slow beside them


class Judging:
    """Begins to score candidates before a training step, and gives the scores of all ranks after it.

    Args:
        gates: what a hard candidate must pass as well.
        decay: of the average that judges, for each step.
        score_size: see `ScoreSize`.
        lent: an average of the same decay that follows the model of its own accord; None makes one that `follow` moves,
            every fourth step.
        tell: takes a line for people.

    Attributes:
        judge: what scores, once it is known what the images are.
        size: at which size.
        begun: scores are on their way, and `end` gives them.
    """

    def __init__(
        self,
        gates: Sequence[Gate],
        decay: float,
        score_size: Wanted,
        lent: Average | None,
        tell: Callable[[str], None],
    ) -> None:
        self.gates, self.lent, self.tell = gates, lent, tell
        self.judge: Judge | None = None
        self.size = ScoreSize(score_size)
        self._average = Average(decay)
        self._told: Told | None = None
        self._followed = -1  # the step that the gates have followed; -1 before the first judgement
        self._moved = -1  # the step that the average has followed
        self._saved: dict[str, Any] | None = None  # what a checkpoint kept, until there is a model to take it up

    @property
    def begun(self) -> bool:
        return self._told is not None

    def follow(self, model: nn.Module, step: int, ranks: Ranks, mining: bool) -> None:
        """The averages, those of gates among them, keep up with the updates.

        Args:
            model: as it is now.
            step: updates made so far.
            ranks: whose first has the buffers that all judge with.
            mining: it has begun.
        """
        saved = self._saved
        if self._followed < 0 or saved is not None:
            saved = saved or {}
            for number, gate in enumerate(self.gates):
                gate.load_state_dict(saved.get("gates", {}).get(str(number), {}))
                gate.start(model)
            if saved.get("judge") and self.lent is None:
                self._average.start(model, saved["judge"])
            self._followed = saved.get("followed", step)
            self._moved, self._saved = saved.get("moved", self._followed), None
        if self._followed != step:
            self._followed = step
            for gate in self.gates:
                gate.step(model)
        if self.lent is None and mining:
            self._move(model, step, ranks)
        else:
            self._moved = step

    def _move(self, model: nn.Module, step: int, ranks: Ranks) -> None:
        """Several steps at once, or each one where the model as it is judges with the buffers of the first rank."""
        average = self._average
        if not average.started:
            self._moved = step
        steps = step - self._moved
        if steps >= (_STEPS if average.decay else 1):
            average.follow(model, ranks.buffers(model), average.decay**steps)
            self._moved = step

    def begin(
        self,
        model: nn.Module,
        offered: Candidates,
        numbers: Tensor,
        ranks: Ranks,
        forward_context: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> Candidates:
        """Score candidates and tell all ranks; nothing waits for it.

        Args:
            model: as it is now.
            offered: of this rank.
            numbers: (n,) int64 on the CPU, pieces that this rank has trained on.
            ranks: who is told.
            forward_context: autocast, as the model is trained.

        Returns:
            The candidates that are scored: those offered, or the same at another size.
        """
        average = self._start(model, ranks)
        assert self.judge is not None
        judge, known = self.judge, self.judge.probabilities
        scored, scores = self.size.judged(
            lambda candidates: judge(model, candidates, forward_context, average), offered
        )
        if judge.probabilities and not known:
            self.tell("the model gives probabilities, not logits; they are scored as such")
        self._told = ranks.tell(scored.recipe.tensors(), scores, numbers)
        return scored

    def begin_without(
        self, model: nn.Module, none: Recipe, numbers: Tensor, ranks: Ranks, device: torch.device
    ) -> None:
        """Tell all ranks that this one has no candidates.

        Args:
            none: 0 rows.
            model, numbers, ranks: see `begin`.
            device: of the model.
        """
        self._start(model, ranks)  # all ranks do so in the same step, whoever has candidates
        scores = torch.empty(0, none.chosen.shape[1] + self.size.columns, device=device)
        self._told = ranks.tell(none.tensors(), scores, numbers)

    def _start(self, model: nn.Module, ranks: Ranks) -> Average:
        average = self.lent or self._average
        if not average.started:
            average.start(model, ranks.first(dict(model.state_dict())))
        return average

    def end(self) -> tuple[list[Recipe], Tensor, Tensor]:
        """What all ranks have told.

        Returns:
            Rows of each rank, (N, R + K) what `size.split` takes of all of them, and the numbers of pieces.
        """
        assert self._told is not None
        parts, scores, numbers = self._told.read()
        self._told = None
        return [Recipe.from_tensors(part) for part in parts], scores, numbers

    def state_dict(self) -> dict[str, Any]:
        """Plain tensors and numbers."""
        saved = self._saved or {}  # that nothing has been judged with yet
        gates = {str(number): gate.state_dict() for number, gate in enumerate(self.gates)}
        return {
            "followed": saved.get("followed", self._followed),
            "moved": saved.get("moved", self._moved),
            "score_size": self.size.state_dict(),
            "judge": self._average.state_dict() or saved.get("judge", {}),
            "gates": saved.get("gates", gates),
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Go on; averages are taken up with the next model that is followed."""
        self._saved = {name: saved[name] for name in ("followed", "moved", "judge", "gates") if name in saved}
        self.size.load_state_dict(saved.get("score_size", {}))
