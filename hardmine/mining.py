"""The search of one training run, step by step; Lightning and Hydra are not needed here.

scenes = mining.read(batch)                  what the batch holds, on its device
plan   = mining.plan(scenes)                 which rows become pieces
made   = mining.make(scenes, plan)           these, converted
tries  = mining.propose(plan)                neighbours of their parameters, first parameters elsewhere
mining.offer(scenes, tries)                  candidates, converted
batch  = mining.view.write(batch, scenes, made)
mining.judge(model)                          before the training step: scores of the candidates
mining.settle()                              after it: the hard ones go into the buffer
mining.end()                                 after the last step
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from math import inf
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from hardmine.arguments import look_at_number, look_at_object, names_of
from hardmine.candidates import Candidates, Maker
from hardmine.conversions import Chain, ColorTransfer, Conversion, Reframe, suited
from hardmine.errors import InputError
from hardmine.first import FirstParameter
from hardmine.judge import Average, Judge, split
from hardmine.judge.gates import Gate
from hardmine.judge.judge import Predict
from hardmine.judge.judging import Judging
from hardmine.judge.rehearsal import Rehearsal
from hardmine.judge.scoring import Confidence, PixelRate, Reliability, Scoring
from hardmine.memory.buffer import RecipeBuffer
from hardmine.memory.ledger import Ledger
from hardmine.memory.signs import Signs
from hardmine.memory.stopping import Stopping
from hardmine.memory.tally import Tally
from hardmine.miner import Miner
from hardmine.neighbourhood import Blend, Neighbourhood
from hardmine.plan import Mix, Plan, pieces_of, planned
from hardmine.ranks import Ranks
from hardmine.records import Recipe, Verdict
from hardmine.rng import keyed
from hardmine.scenes import Scenes
from hardmine.store import ParameterStore
from hardmine.update import Rounds, Update
from hardmine.usual import Usual
from hardmine.view import UNUSED, Path, View

if TYPE_CHECKING:
    import lightning as L

DECAY = 0.995
HARDEST = 0.1
FORMAT = 4  # of the state in a checkpoint
Numbers = tuple[Path, Tensor, Tensor]
_log = logging.getLogger("hardmine")


class Mining:
    """Finds parameters that the model fails with, and makes training images of them.

    Args:
        store: stored parameters; their areas meet those of the images by name.
        neighbourhood: turns a hard parameter into the next one; `Blend()`.
        first: draws first parameters; `First()`.
        conversion: makes candidates; colours and a new frame.
        scoring: recognition accuracy; chosen by the labels.
        gates: what a hard candidate must pass as well.
        threshold: Th1, recognition accuracy in [0, 1] below which a candidate becomes a piece (R24). "auto" sets none:
            a candidate becomes a piece where recognition drops furthest under its parameter, see `hardest`.
        start: optimiser steps of plain training before mining starts; a model that knows nothing finds all hard.
        seed: of every draw.
        view: reads and writes batches.
        predict: what a module gives for a batch, where its forward does not take the images alone.
        areas: names of the areas in label order; None where each image is one area.
        update: when the model is updated.
        buffer: the online-update buffer.
        stopping: when the search is over.
        ledger: folder, or `Ledger`, that records every verdict; None keeps no record.
        hardest: only this share of the candidates, in (0, 1], become pieces: those under whose parameters recognition
            drops furthest, on average over the images they are tried on (`Drops`). None is 0.1, or 1 where Th1 is a
            number.
        decay: share, in [0, 1], of the judge's weights that stays in each step. 0 judges with the model as it is; in
            between, with a moving average of it, which does not yet know by heart what was learnt a few steps ago (it
            moves every fourth step, by four steps); 1, the first embodiment, with the model as it was at `start`. None
            is 0.995, or 0 where `update` waits for pieces.
        mix: which share of the rows of a batch are converted, to what, and how many candidates are made of each row.

    Attributes:
        tally: what was tried and found so far.
        step: updates of the model so far.
        offered: the latest candidates.
        searches: the search is tried out on the first batch; false where recipes are examined alone.
        view, buffer, stopping, gates: of this run; what was given is kept for the next one.

    Raises:
        InputError: a number out of its range.
    """

    def __init__(
        self,
        store: ParameterStore,
        neighbourhood: Neighbourhood | None = None,
        first: FirstParameter | None = None,
        conversion: Conversion | None = None,
        scoring: Scoring | None = None,
        gates: Sequence[Gate] = (),
        threshold: float | Literal["auto"] = "auto",
        start: int = 100,
        seed: int = 0,
        view: View | None = None,
        predict: Predict | None = None,
        areas: Sequence[str] | None = None,
        update: Update | None = None,
        buffer: RecipeBuffer | None = None,
        stopping: Stopping | None = None,
        ledger: str | PathLike[str] | Ledger | None = None,
        hardest: float | None = None,
        decay: float | None = None,
        mix: Mix | None = None,
    ) -> None:
        if not isinstance(store, ParameterStore):
            raise InputError(f"store must be a ParameterStore, got {store!r:.60}: read a file with ParameterStore.load")
        for name, value, kind, example in (
            ("neighbourhood", neighbourhood, None, "like hardmine.Select(radius=10)"),
            ("first", first, None, "like hardmine.First()"),
            ("conversion", conversion, None, "like hardmine.ColorTransfer()"),
            ("scoring", scoring, None, "like hardmine.PixelRate()"),
            ("view", view, View, 'like hardmine.View(image="image")'),
            ("predict", predict, None, "a function of module and batch"),
            ("update", update, Update, "like hardmine.Update(every=4)"),
            ("buffer", buffer, RecipeBuffer, "like hardmine.RecipeBuffer(capacity=4096)"),
            ("stopping", stopping, Stopping, "like hardmine.Stopping(max_pieces=500)"),
            ("ledger", ledger, str | PathLike | Ledger, "a folder"),
            ("mix", mix, Mix, "like hardmine.Mix(mined=0.5)"),
            ("gates", gates, Sequence, "like [hardmine.Gamut()]"),
        ):
            look_at_object(name, value, kind, example)
        auto = isinstance(threshold, str) and threshold == "auto"
        if not auto:
            look_at_number("threshold", threshold, 0, 2, '"auto" or a recognition accuracy (above 1: all)')
        look_at_number("start", start, 0, inf, "optimiser steps", whole=True)
        look_at_number("seed", seed, 0, inf, "the draws", whole=True)
        if decay is None:
            decay = DECAY if update is None or not update.every else 0.0
        look_at_number("decay", decay, 0, 1, "a share")
        if hardest is None:
            hardest = HARDEST if auto else 1.0
        look_at_number("hardest", hardest, 0, 1, "a share", above=True)
        mix = (mix or Mix()).settled(auto, waits=update is not None and update.every > 0)
        self.neighbourhood = neighbourhood or Blend()
        self.first = first
        if conversion is not None and not len(conversion.space):
            raise InputError(
                f"conversion: {type(conversion).__name__} alone has nothing to search for: put it after another one, "
                "Chain([ColorTransfer(), Reframe()])"
            )
        wanted = conversion or Chain([ColorTransfer(individual=True), Reframe(0.7, 0.5)])
        self.conversion = suited(wanted, store.space)
        self._luminance_alone = self.conversion is not wanted
        self.scoring, self.gates, self.threshold = scoring, list(gates), None if auto else float(threshold)
        self.start, self.seed, self.areas = start, seed, names_of("areas", areas)
        self.predict, self.update = predict, update or Update()
        self.ledger = ledger if ledger is None or isinstance(ledger, Ledger) else Ledger(str(ledger))
        self.hardest, self.decay, self.mix = hardest, decay, mix
        self.given = store  # its areas as they were named
        self.usual = Usual(self.conversion)
        self.searches = True
        self.followed_by: Any = None  # the trainer whose callback judges
        self._fresh = deepcopy(
            (
                View() if view is None else view.unread(),
                RecipeBuffer() if buffer is None else buffer,  # an empty one is no less given
                Stopping() if stopping is None else stopping,
                self.gates,
            )
        )
        self._lent: Average | None = None
        self.begin()

    def judge_by(self, average: Average) -> None:
        """Have an average judge that follows the model of its own accord, in place of one that follows it here.

        Args:
            average: of the decay that this search has.

        Raises:
            ValueError: of another decay.
        """
        if average.decay != self.decay:
            raise ValueError(f"average must have the decay {self.decay} of the search, got {average.decay}")
        self._lent = self.judging.lent = average

    def begin(self) -> None:
        """Forget everything: what is found belongs to one run."""
        self.view, self.buffer, self.stopping, self.gates = deepcopy(self._fresh)
        self.usual.forget()
        self.miner: Miner | None = None
        self.rounds: Rounds | None = None  # where the model waits for pieces
        self.ranks = Ranks()
        self.signs = Signs(self.hardest, learns=self.decay < 1)
        self.step = 0
        self.number = 0  # batches planned
        self.offered: Candidates | None = None
        self._maker = Maker(self.conversion, self.view, self.areas)
        self.judging = Judging(self.gates, self.decay, self.mix.score_size, self._lent, self.tell)
        self._searched_at = -1  # the step of the latest proposals
        self._batch: Any = None  # that was read last
        self._scenes: Scenes | None = None  # of it
        self._at = torch.device("cpu")  # where it lies
        self._replayed: list[Tensor] = []  # numbers of the pieces trained on and not yet told
        self._made: tuple[Candidates | None] | None = None  # candidates that wait for `verdicts`; of some ranks none
        self._rounds: dict[str, Any] = {}  # what a checkpoint kept of them
        self._saved: dict[str, Any] | None = None  # a checkpoint, until the first batch shows what it is about

    @property
    def tally(self) -> Tally:
        if self.miner is None:  # a checkpoint may tell of what was found before
            return Tally(**self._saved["miner"]["tally"]) if self._saved else Tally()
        return self.miner.tally

    @property
    def store(self) -> ParameterStore:
        """With the areas in the order of the images', once the first batch has told it."""
        return self.given if self.miner is None else self.miner.store

    @property
    def searching(self) -> bool:
        """Whether mining has begun and is not over."""
        return (
            self.miner is not None
            and self.step >= self.start
            and self.usual.known
            and self.miner.stopping.reason is None
        )

    # Before the training step

    def rehearse(
        self, model: nn.Module, batch: Any, forward_context: Callable[[], AbstractContextManager[Any]] = nullcontext
    ) -> Rehearsal:
        """See, before the first training step, that the model can be judged; its `end` belongs after that step.

        Args:
            model: as it is.
            batch: as it goes into the training step.
            forward_context: see `judge`.

        Raises:
            InputError: what the model gives cannot be scored.
        """
        judge = self.judging.judge
        if judge is None:
            raise ValueError("no batch has been read yet: call read first")
        labels, areas = self.view.scored(batch, None, self.areas), len(self.view.names(self.areas))
        return Rehearsal(
            model, lambda: judge.rehearse(model, batch, labels, areas, forward_context), given=self.predict is not None
        )

    def read(self, batch: Any, numbers: Sequence[Numbers] = ()) -> Scenes:
        """The images of a batch, with their areas and labels, where they lie.

        Args:
            batch: as the loader gives it.
            numbers: index and draw (B,) int64 of samples that cannot carry them, with the path of their part.

        Raises:
            InputError: the batch, or how its areas meet the store's, cannot be told.
        """
        told = len(self.view.told)
        scenes = self.view.read(batch, self.areas)
        for path, index, draw in numbers:
            if path == self.view.path[: len(path)]:
                scenes.source, scenes.draw = index, draw
        self._batch, self._scenes, self._at = batch, scenes, scenes.image.device
        for line in self.view.told[told:]:
            self.tell(line)
        if self.miner is None:
            self._open(scenes)
        return scenes

    def _open(self, scenes: Scenes) -> None:
        """The search, now that it is known what the images are."""
        whole = self.view.whole
        store = self.given.whole() if whole else self.given.aligned(self.view.names(self.areas))
        self.miner = Miner(
            store,
            self.neighbourhood,
            self.first,
            self.conversion,
            self.buffer,
            self.stopping,
            self.mix.candidates,
            self.seed,
            self.hardest,
            self.threshold,
        )
        if self.scoring is not None:
            scoring = self.scoring
        elif self.view.kind == "boxes":
            scoring = Reliability(by_class=self.view.by_box)
        else:
            scoring = PixelRate() if self.view.kind == "masks" else Confidence()
        lacking = [name for name in store.lacking if name != UNUSED]
        if lacking:
            self.tell(
                f"no target of the store has {', '.join(lacking)}: they are never converted (the store has "
                f"{', '.join(name for name in self.given.areas if name not in self.given.lacking)})"
            )
        if whole and self.areas is not None:
            self.tell("areas are not used: each image is one area; name label maps with View(label=...) or regions=")
        if self._luminance_alone:
            self.tell("the store has luminance alone: a* and b* stay as they are")
        self.judging.judge = Judge(scoring, self.gates, self.predict or self._predict)
        if self.searches:
            self._rehearse_search(scenes)
            self._tell_search(scenes)
        if self._saved is not None:
            self._restore(self._saved)
            self._saved = None

    def _tell_search(self, scenes: Scenes) -> None:
        """What a search over these images cannot do."""
        if len(self.store) == 1 and self.hardest < 1 and self.threshold is None:
            self.tell(
                "the store has one target, so that no first parameter is harder than another and chance says which "
                "become pieces: give more targets, or set threshold"
            )
        unused = "mined=0" if not self.mix.mined else "stand_ins=1" if self.mix.stand_ins == 1 else None
        if unused and not self.update.every:
            self.tell(f"with {unused} the search is recorded and no piece is trained on")
        if scenes.source is None:
            self.tell(
                "the samples do not say which they are: their pieces cannot be made again, and used parameters are "
                "kept for all sources together; wrap the data set in hardmine.Numbered (in a loop of your own its "
                "samples must be dicts)"
            )
        elif scenes.draw is None:
            self.tell(
                "samples carry an index and no draw: pieces of augmented samples cannot be made again; wrap the data "
                "set in hardmine.Numbered"
            )

    def _rehearse_search(self, scenes: Scenes) -> None:
        """See now, not when mining begins, that first parameters and neighbours can be had; nothing is used up.

        Raises:
            InputError: what one of them lacks.
        """
        miner = self._opened
        rows = planned(scenes, miner.store.regions, len(miner.store.space), self.seed, 0)[:1]
        for policy in (deepcopy(miner.first), deepcopy(self.neighbourhood)):
            rows, _ = policy(rows, miner.store, miner.graph, keyed(self.seed, "rehearsal"))

    def _predict(self, module: nn.Module, batch: Any) -> Any:
        return module(self.view.input(batch))

    def between(self, sources: int) -> Rounds:
        """The search between two updates, where `update` waits for pieces, made once.

        Args:
            sources: S.
        """
        if self.rounds is None:
            if self.update.every % self.ranks.count:
                raise InputError(
                    f"update.every={self.update.every} pieces cannot be shared out among {self.ranks.count} "
                    "ranks: take a multiple"
                )
            self.ranks.reserve(self.update.every // self.ranks.count)
            self.rounds = Rounds(self._opened, self.update, sources)
            if self._rounds:
                self.rounds.load_state_dict(self._rounds)
        return self.rounds

    def plan(self, scenes: Scenes, rows: Recipe | None = None) -> Plan:
        """Which rows of the batch become pieces, and of which parameters.

        Args:
            scenes: B of them.
            rows: B rows that are planned already; None takes pieces of the buffer for rows drawn by chance.

        Raises:
            InputError: `mined` is no row of the first batch.
        """
        miner = self._opened
        if not self.number and 0 < self.mix.mined * len(scenes) < 0.25:  # less than one row in four batches
            raise InputError(f"mined={self.mix.mined:g} of a batch of {len(scenes)} is no row: raise it, or set 0")
        begun = self.step >= self.start and self.usual.known
        if begun and rows is None and self.update.every:
            raise InputError(
                "update.every searches between two batches, which takes mining.around(data) and a Lightning trainer: "
                "leave update out in a loop of your own"
            )
        number = self.number * self.ranks.count + self.ranks.rank
        self.number += 1
        self.usual.look(scenes, self.ranks, last=self.step >= self.start)
        clean = planned(scenes, miner.store.regions, len(miner.store.space), self.seed, number)
        if rows is not None:
            return Plan(rows)
        if self.step < self.start or not self.usual.known:
            return Plan(clean)
        miner.step = self.step
        return Plan(pieces_of(miner.buffer, clean, self.mix, miner.begin, self.step, self.seed, number))

    def make(self, scenes: Scenes, plan: Plan) -> Scenes:
        """The scenes with the rows of pieces converted; `scenes` itself where there are none."""
        rows = plan.pieces
        if not len(rows):
            return scenes
        if self.conversion.colors is not None:
            scenes.measured(self.conversion.colors)  # of all rows, since candidates are made of them too
        there = rows.to(scenes.image.device, non_blocking=True)
        part = scenes[rows]
        made, _ = self.conversion(part, plan.rows[rows])
        image = scenes.image.index_copy(0, there, made.image)
        if made.regions is part.regions:
            return scenes.replace(image)
        labels = {name: value.index_copy(0, there, made.labels[name]) for name, value in scenes.labels.items()}
        return scenes.replace(image, scenes.regions.index_copy(0, there, made.regions), labels)

    def propose(self, plan: Plan) -> Recipe:
        """Parameters to try on the sources of the batch, B * K rows; none where this step has been searched already.

        Rows that carry a piece get neighbours of its parameter (R28), the others first parameters.
        """
        if self.update.every:  # each piece is trained on once, and what is tried next is the rounds' matter
            return plan.rows[:0]
        numbers = plan.rows.piece[plan.rows.piece >= 0]
        if len(numbers):
            self._replayed.append(numbers)
        if not self.searching or self.step == self._searched_at:
            return plan.rows[:0]
        self._searched_at = self.step
        rows = plan.rows
        if self.ranks.count > 1:  # what a rank may tell of in a step is agreed once
            rows = rows[: self.ranks.room(len(rows) * self.mix.candidates, self._at) // self.mix.candidates]
        return self._opened.propose(rows, self.step, self.ranks.rank, self.ranks.count)

    def offer(self, scenes: Scenes, tries: Recipe, hooks: Callable[[Any], Any] = lambda batch: batch) -> None:
        """Convert candidates, for `judge`; rows of which no region is converted are none.

        Args:
            scenes: B sources, as read last.
            tries: of `propose`.
            hooks: what a batch goes through before a model takes it.
        """
        able = tries.counted.any(1)
        of = (torch.arange(len(tries)) // self.mix.candidates)[able]
        tries = tries[able]
        if not len(tries):
            return
        if scenes is not self._scenes:
            raise InputError("offer takes the scenes that were read last: read no other batch between plan and offer")
        self.offered = self.judging.size.made(self._maker, self._batch, scenes, tries, of, hooks)

    def examine(
        self,
        model: nn.Module,
        scenes: Scenes,
        tries: Recipe,
        of: Tensor,
        forward_context: Callable[[], AbstractContextManager[Any]] = nullcontext,
        hooks: Callable[[Any], Any] = lambda batch: batch,
    ) -> tuple[Candidates, Verdict]:
        """Score recipes with the model as it is; nothing comes of it, and a row that converts nothing is as its source.

        Args:
            model: as it is now.
            scenes: B sources, as read last.
            tries: N rows.
            of: (N,) int64 on the CPU, the source that each row is made of.
            forward_context, hooks: see `judge` and `offer`.
        """
        assert self.judging.judge is not None
        candidates = self._maker(self._batch, scenes, tries, of, hooks)
        score, area_score, gate = split(self.judging.judge(model, candidates, forward_context).cpu())
        candidates.score, none = score, torch.zeros(len(tries), dtype=torch.bool)
        step = torch.full((len(tries),), self.step)
        return candidates, Verdict(score, area_score, none, gate, step, torch.full_like(score, torch.nan))

    def judge(self, model: nn.Module, forward_context: Callable[[], AbstractContextManager[Any]] = nullcontext) -> None:
        """Begin to score what was offered; nothing waits for it and no trace is left in the model.

        Args:
            model: as it is now.
            forward_context: autocast, as the model is trained.
        """
        if self.judging.begun:  # the training step before this one was skipped
            self._admit()
        if self.miner is None:
            return
        self._follow(model)
        offered = self.offered is not None and self.offered.score is None
        # several ranks tell each other in every step: none knows whether another has something to tell
        begun = self.step >= self.start and self.usual.known and not self.update.every
        if offered or (begun if self.ranks.count > 1 else self._replayed):
            self._score(model, forward_context)

    def _follow(self, model: nn.Module) -> None:
        self.judging.follow(model, self.step, self.ranks, mining=self.step >= self.start)

    def _score(self, model: nn.Module, forward_context: Callable[[], AbstractContextManager[Any]]) -> None:
        """Scores of what was offered, and the pieces trained on, on their way to all ranks."""
        numbers = torch.cat([*self._replayed, torch.empty(0, dtype=torch.int64)])
        self._replayed = []
        if self.offered is not None and self.offered.score is None:
            self.offered = self.judging.begin(model, self.offered, numbers, self.ranks, forward_context)
            return
        nothing = torch.empty(0, dtype=torch.int64)
        store = self._opened.store
        none = Recipe.clean(nothing, nothing, store.regions, len(store.space))
        self.judging.begin_without(model, none, numbers, self.ranks, self._at)

    # After the training step

    def settle(self, updates: int = 1) -> tuple[Recipe, Verdict] | None:
        """Verdicts of all ranks reach buffer, graph, ledger and stopping.

        Args:
            updates: how often the model has been updated since `judge`.

        Returns:
            Candidates, numbered where they became pieces, and verdicts, rank after rank; None where nothing was judged.
        """
        settled = self._admit() if self.judging.begun else None
        self.step += updates
        return settled

    # Between two training steps

    def convert(
        self, tries: Recipe, load: Callable[[Recipe], Any], hooks: Callable[[Any], Any] = lambda batch: batch
    ) -> None:
        """Make candidates of numbered sources, for `verdicts`; ranks share them out.

        Args:
            tries: N rows, alike on all ranks.
            load: the batch of the sources of rows, on the device of the model.
            hooks: see `offer`.
        """
        mine, shown = tries[self.ranks.rank :: self.ranks.count], self.offered
        self.offered, self.judging.size.half = None, False  # what is searched between updates is scored at full size
        if len(mine):
            self.offer(self.read(load(mine)), mine, hooks)
        self._made, self.offered = (self.offered,), shown

    def verdicts(
        self,
        tries: Recipe,
        load: Callable[[Recipe], Any],
        model: nn.Module,
        forward_context: Callable[[], AbstractContextManager[Any]] = nullcontext,
        hooks: Callable[[Any], Any] = lambda batch: batch,
    ) -> tuple[Recipe, Verdict]:
        """Judge tries on numbered sources with the model as it is now; what comes of them is not recorded yet.

        Args:
            tries: N rows, alike on all ranks; candidates that `convert` made are taken as they are.
            load, hooks: see `convert`.
            model, forward_context: see `judge`.

        Returns:
            N candidates and their verdicts, in the order of the tries.
        """
        if self._made is None:
            self.convert(tries, load, hooks)
        assert self._made is not None
        (self.offered,), self._made = self._made, None
        self._follow(model)
        self._score(model, forward_context)
        settled = self._admit(record=False)
        assert settled is not None
        order = self._order(len(tries))
        return settled[0][order], settled[1][order]

    def scores(
        self,
        tries: Recipe,
        load: Callable[[Recipe], Any],
        model: nn.Module,
        forward_context: Callable[[], AbstractContextManager[Any]] = nullcontext,
        hooks: Callable[[Any], Any] = lambda batch: batch,
    ) -> Tensor:
        """(N,) recognition accuracy of tries with the model as it is now; nothing comes of it. See `verdicts`."""
        made, shown = self._made, self.offered
        self.convert(tries, load, hooks)
        assert self._made is not None
        (self.offered,) = self._made
        self._follow(model)
        self._score(model, forward_context)
        _, scores, _ = self.judging.end()
        self._made, self.offered = made, shown
        return scores[self._order(len(tries)), 0]

    def record(self, recipe: Recipe, verdict: Verdict) -> None:
        """Verdicts go into the ledger."""
        if self.ledger is not None and not self.ranks.rank:
            self.ledger.usual = self.usual.found
            self.ledger.append(recipe, verdict)

    def go_on_from(self, verdicts: int) -> None:
        """Tell where the ledger lacks some of the verdicts that a checkpoint counts."""
        lacking = self.tally.candidates - verdicts
        if lacking > 0:
            self.tell(
                f"the ledger lacks {lacking} of the {self.tally.candidates} verdicts before step {self.step}: a part "
                "is missing, and export and report do without it"
            )

    def _order(self, n: int) -> Tensor:
        """(N,) int64: where each of N rows that ranks have shared out stands, rank after rank."""
        of = torch.cat([torch.arange(n)[rank :: self.ranks.count] for rank in range(self.ranks.count)])
        return of.argsort()

    def _admit(self, record: bool = True) -> tuple[Recipe, Verdict] | None:
        assert self.miner is not None
        parts, told, numbers = self.judging.end()
        if not len(told):
            self.miner.buffer.replayed(numbers)
            return None
        recipe, (scores, pairs) = Recipe.cat(parts), self.judging.size.split(told)
        recipe, verdict = self.miner.admit(recipe, *split(scores))
        self.miner.buffer.replayed(numbers)  # after it: a neighbour is compared with the piece that it came from
        if self.offered is not None and len(parts[self.ranks.rank]):
            before = sum(map(len, parts[: self.ranks.rank]))
            mine = slice(before, before + len(parts[self.ranks.rank]))
            self.offered.score, self.offered.recipe = scores[mine, 0], recipe[mine]
        if record:
            self.record(recipe, verdict)
        for line in self.judging.size.look(pairs):
            self.tell(line)
        self.miner.hardness.drops.level += self.judging.size.shift
        tally = self.miner.tally
        for line in self.signs.look(verdict.score, recipe.parent >= 0, self.threshold, tally):
            self.tell(line)
        return recipe, verdict

    def end(self) -> None:
        """After the last step: the ledger is on the disk, and one line says why where little was found."""
        if self.ledger is not None and not self.ranks.rank:
            self.ledger.flush()
        if self.rounds is not None and self.rounds.search.trace is not None and not self.ranks.rank:
            self.rounds.search.trace.save()
        if self.miner is None:
            return
        for line in self.signs.end(self.threshold, self.tally):
            self.tell(line)
        if not self.tally.candidates:
            self.tell(f"nothing was mined: {self._without_candidates}")

    @property
    def _without_candidates(self) -> str:
        """Why there was none."""
        if self.offered is not None and self.offered.score is None:
            return "candidates were made and never judged: call judge before each training step"
        if self._searched_at < 0:
            return f"the model was updated {self.step} times, and mining begins after {self.start}: set start lower"
        return (
            "no image has an area that a target of the store has: look at the labels, take targets with such areas, or "
            "a store with missing=whole"
        )

    def tell(self, line: str) -> None:
        """One line for people, on one rank."""
        if not self.ranks.rank:
            _log.warning("hardmine: %s", line)

    # What a checkpoint keeps

    def state_dict(self) -> dict[str, Any]:
        """Plain tensors, numbers and strings, loadable with `weights_only=True`."""
        if self.miner is None:
            return {} if self._saved is None else self._saved
        return {
            "format": FORMAT,
            "ranks": self.ranks.count,
            "store": self.miner.store.mark,
            "miner": self.miner.state_dict(),
            "signs": self.signs.state_dict(),
            "step": self.step,
            "number": self.number,
            "searched_at": self._searched_at,
            "rounds": {} if self.rounds is None else self.rounds.state_dict(),
            "usual": self.usual.state_dict(),
            **self.judging.state_dict(),
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Go on where a state was kept; it is taken up with the first batch.

        Raises:
            InputError: a state of another version.
        """
        if saved and saved.get("format") != FORMAT:
            raise InputError(
                f"the checkpoint holds a search in format {saved.get('format', 1)}, this version reads {FORMAT}"
            )
        self._saved = saved or None
        if saved:
            self.step = saved["step"]  # up to which the ledger is kept, before the first batch comes
            if self.miner is not None:
                self._restore(saved)
                self._saved = None

    def _restore(self, saved: dict[str, Any]) -> None:
        assert self.miner is not None
        if saved.get("store", self.miner.store.mark) != self.miner.store.mark:
            raise InputError(
                "the checkpoint holds a search over another store, or over areas in another order: give the same, or "
                "load the weights alone and search anew"
            )
        if saved.get("ranks", 1) != self.ranks.count:
            self.tell(
                f"the run had {saved.get('ranks', 1)} processes and has {self.ranks.count} now: an update is of "
                "another number of images, and the run goes another way than it would have gone"
            )
        self.miner.load_state_dict(saved["miner"])
        self.signs.load_state_dict(saved["signs"])
        self.step, self.number = saved["step"], saved["number"]
        self._searched_at, self._rounds = saved["searched_at"], saved["rounds"]
        self.usual.load_state_dict(saved["usual"])
        self.judging.load_state_dict(saved)

    # Lightning

    def around(self, data: Any, val: Any = None) -> "L.LightningDataModule":
        """The user's data, mined while a Lightning trainer fits.

        Args:
            data: a LightningDataModule, a loader, or several of them.
            val: validation loaders beside training loaders.
        """
        from hardmine.adapters.data import MiningDataModule

        return MiningDataModule(self, data, val)

    def callback(self) -> "L.Callback":
        """What judges and settles in a Lightning trainer."""
        from hardmine.adapters.callback import HardMining

        return HardMining(self)

    @property
    def _opened(self) -> Miner:
        if self.miner is None:
            raise ValueError("no batch has been read yet: call read first")
        return self.miner
