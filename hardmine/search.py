"""A search that converts the same source again and again, step by step as FIG. 6 and 11 have it (D47-D49, D74-D77)."""

from dataclasses import dataclass
from math import inf
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from hardmine.arguments import look_at_number
from hardmine.errors import InputError
from hardmine.memory.trace import Trace
from hardmine.miner import Miner
from hardmine.records import Recipe, Verdict, state
from hardmine.rng import key

Order = Literal["text", "output_late", "update_early"]


class Process(Protocol):
    """What a search has done for it, on tries that are alike on all ranks."""

    def present(self, rows: Recipe) -> Tensor:
        """(N, R) bool on the CPU: the areas of the sources of N rows; last, whether there is any."""

    def convert(self, tries: Recipe) -> None:
        """Make the candidates that `admit` judges next (S110, S142)."""

    def admit(self, tries: Recipe) -> tuple[Recipe, Verdict]:
        """Score candidates and compare them with Th1 (S122, S124): N candidates, numbered where they became pieces,
        and their verdicts, in the order of the tries."""

    def output(self, candidates: Recipe, verdict: Verdict) -> None:
        """Give out what was found (S126)."""

    def scores(self, rows: Recipe) -> Tensor:
        """(N,) recognition accuracy of candidates as the model is now; nothing comes of it."""


@dataclass(frozen=True)
class Steps:
    """How a search goes on (D47, D75, D83).

    Attributes:
        depth: neighbours of neighbours followed at most; 0 leaves out S130 and S142, a plain threshold filter. None
            follows them as long as they are hard.
        retries: further parameters tried in place of an easy one, before the source is left.
        easy: after an easy neighbour, `neighbour` tries another one of the same piece, `first` a first parameter
            (S110).
        order: `text` outputs a piece (S126), makes the next candidate (S130, S142), and then the model is updated
            (S250). `output_late` has S126 after S142, `update_early` S250 before S230.
        trace: CSV file that records each step, see `Trace`; None records none.

    Raises:
        InputError: a value out of its range.
    """

    depth: int | None = 4
    retries: int = 3
    easy: Literal["neighbour", "first"] = "neighbour"
    order: Order = "text"
    trace: str | None = None

    def __post_init__(self) -> None:
        if self.depth is not None:
            look_at_number("search.depth", self.depth, 0, inf, "neighbours of neighbours", whole=True)
        look_at_number("search.retries", self.retries, 0, inf, "parameters", whole=True)
        for name, value, known in (
            ("easy", self.easy, ("neighbour", "first")),
            ("order", self.order, ("text", "output_late", "update_early")),
        ):
            if value not in known:
                raise InputError(f"search.{name} must be {', '.join(known[:-1])} or {known[-1]}, got {value!r:.60}")


class Search:
    """Goes through the sources, several at a time, one search for each row.

    A search begins with a first parameter. Easy: another one is tried (R25). Hard: it is output, and the next
    candidate is its neighbour (R28), whose neighbour follows if that is hard too.

    Args:
        miner: proposes and remembers, with one candidate per row.
        sources: S.
        rows: searches that run side by side.
        steps: how each goes on; None takes `Steps()`.
        searches: first parameters that each source is begun with; None begins them again and again.
        learns: the model is updated.

    Raises:
        InputError: a number out of its range.
    """

    def __init__(
        self,
        miner: Miner,
        sources: int,
        rows: int,
        steps: Steps | None = None,
        searches: int | None = 1,
        learns: bool = False,
    ) -> None:
        look_at_number("search.rows", rows, 1, inf, "searches side by side", whole=True)
        if searches is not None:
            look_at_number("search.searches", searches, 1, inf, "first parameters of each source", whole=True)
        if miner.candidates > 1:
            raise InputError(f"candidates must be 1 where each search tries one at a time, got {miner.candidates}")
        self.miner, self.steps = miner, steps or Steps()
        self.sources, self.searches = sources, searches
        self.trace = Trace(self.steps.trace, learns) if self.steps.trace is not None else None
        self.begun = 0  # searches begun; search i is the (i // S)th on source i % S
        self.wanted = rows
        self.rows = self._clean(torch.empty(0, dtype=torch.int64))  # what the searches go on from
        self.tried = torch.empty(0, dtype=torch.int64)  # easy candidates in a row, of each search
        self.tries: Recipe | None = None  # the next candidates, where they are known already
        self.update = 0  # updates of the model so far

    @property
    def done(self) -> bool:
        """Whether every search has ended, or `Miner.stopping` ended all."""
        ended = self.searches is not None and self.begun >= self.sources * self.searches and not len(self.rows)
        return ended or self.miner.stopping.reason is not None

    @property
    def progress(self) -> float:
        """Share of the searches that have ended."""
        return (self.begun - len(self.rows)) / (self.sources * self.searches) if self.searches is not None else 0.0

    def determine(self, process: Process, step: int, most: int | None = None) -> None:
        """The next candidate of each running search: its parameter, and the image (S110; S130 and S142).

        Args:
            process: makes them.
            step: updates of the model so far, or rounds with a frozen one.
            most: only so many of the searches, the oldest; None takes all.
        """
        self.update = step
        left = self.begun + self.sources  # searches that may turn out to have nothing to convert
        while True:
            self._begin(process)
            n = len(self.rows) if most is None else min(most, len(self.rows))
            tries = self.miner.propose(self.rows[:n], step)
            able = tries.counted.any(1)
            if not able.all() and self.begun > left:
                raise InputError("no source has an area that a target of the store has: nothing can be converted")
            able &= (self.rows.piece[:n] < 0) | (tries.parent >= 0)  # a piece without a neighbour ends its search
            if able.all():
                break
            self._go_on(torch.cat([able, torch.ones(len(self.rows) - n, dtype=torch.bool)]))
        neighbour = tries.parent >= 0
        self._record(30, tries[neighbour])
        if n:
            process.convert(tries)
        self._record(10, tries[~neighbour])
        self._record(42, tries[neighbour])
        self.tries = tries

    def step(self, process: Process, step: int, most: int | None = None) -> tuple[Recipe, Verdict]:
        """Judge one candidate of each running search; what is hard waits for `output`.

        Args:
            process, step, most: see `determine`; candidates that are determined already are taken as they are.

        Returns:
            What `Process.admit` does.
        """
        if self.tries is None:
            self.determine(process, step, most)
        assert self.tries is not None
        tries, self.tries = self.tries, None
        n = len(tries)
        if not n:
            return tries, Verdict.none(self.miner.store.regions)
        self.miner.step = self.update = step
        candidates, verdict = process.admit(tries)
        self._record(22, tries, verdict.score)
        self._record(24, candidates)
        hard = verdict.piece
        tried = torch.where(hard, 0, self.tried[:n] + 1)
        before = self.rows[:n]
        if self.steps.easy == "first":
            before = self._clean(before.source).replace(present=before.present)
        rows = candidates.where(hard, before)
        deep = inf if self.steps.depth is None else self.steps.depth
        ended = (hard & (candidates.depth >= deep)) | (tried > self.steps.retries)
        self.rows, self.tried = Recipe.cat([rows, self.rows[n:]]), torch.cat([tried, self.tried[n:]])
        self._go_on(torch.cat([~ended, torch.ones(len(self.rows) - n, dtype=torch.bool)]))
        return candidates, verdict

    def output(
        self, process: Process, candidates: Recipe, verdict: Verdict, most: int | None = None, updates: bool = False
    ) -> None:
        """Give out what was found, and make the next candidates, in the order that `Steps` says.

        Args:
            process: does it.
            candidates, verdict: of `step`.
            most: how many searches the next step takes; None takes all.
            updates: the model is updated before the next step.
        """
        more = not self.done
        if more and self.steps.order == "output_late":
            self.determine(process, self.update, most)
        process.output(candidates, verdict)
        self._record(26, candidates[verdict.piece])
        if more and self.steps.order == "text":
            self.determine(process, self.update, most)
        if more and self.steps.order == "update_early" and not updates:
            self.determine(process, self.update, most)

    def updated(self, process: Process, step: int, pieces: Recipe) -> None:
        """The model has learnt pieces (S250); where there is a trace, they are scored once more."""
        self.update = step
        if self.trace is not None:
            self._record(50, pieces, process.scores(pieces))

    def _record(self, step: int, recipe: Recipe, accuracy: Tensor | None = None) -> None:
        if self.trace is not None and len(recipe):
            self.trace.add(step, self.update, recipe, self.miner.store, accuracy)

    def _clean(self, source: Tensor) -> Recipe:
        view = torch.tensor([key(self.miner.seed, "view", one) for one in source.tolist()], dtype=torch.int64)
        return Recipe.clean(source, view, self.miner.store.regions, len(self.miner.store.space))

    def _go_on(self, kept: Tensor) -> None:
        """With some of the searches alone."""
        self.rows, self.tried = self.rows[kept], self.tried[kept]

    def _begin(self, process: Process) -> None:
        """As many searches more as have ended."""
        last = self.begun + self.wanted - len(self.rows)
        if self.searches is not None:
            last = min(last, self.sources * self.searches)
        fresh = self._clean(torch.arange(self.begun, last) % self.sources)
        self.begun = last
        if not len(fresh):
            return
        fresh = fresh.replace(present=process.present(fresh))
        self._record(0, fresh)
        self.rows = Recipe.cat([self.rows, fresh])
        self.tried = torch.cat([self.tried, torch.zeros(len(fresh), dtype=torch.int64)])

    def state_dict(self) -> dict[str, Any]:
        """Plain tensors, numbers and strings, without the miner's."""
        return {
            "rows": state(self.rows),
            "tried": self.tried.clone(),
            "begun": self.begun,
            "tries": {} if self.tries is None else state(self.tries),
            "trace": {} if self.trace is None else self.trace.state_dict(),
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        self.rows, self.tried = Recipe.from_tensors(saved["rows"]), saved["tried"].clone()
        self.begun = saved["begun"]
        self.tries = Recipe.from_tensors(saved["tries"]) if saved["tries"] else None
        if self.trace is not None and saved["trace"]:
            self.trace.load_state_dict(saved["trace"])
