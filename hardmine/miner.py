"""One mining step: propose -> convert -> score -> admit (R22-R28). Lightning and Hydra are not needed here.

All that decides (store, graph, buffer, policy, chance) lives on the CPU in plain tensors and moves the same way on
every rank; a device only converts and scores. So a run is the same on any device, and ranks exchange scores alone.
"""

from typing import Any

import torch
from torch import Tensor

from hardmine.conversions import ColorTransfer, Conversion, suited
from hardmine.first import First, FirstParameter
from hardmine.memory.buffer import RecipeBuffer
from hardmine.memory.graph import Graph
from hardmine.memory.hardness import Hardness
from hardmine.memory.stopping import Stopping
from hardmine.memory.tally import Tally
from hardmine.neighbourhood import Neighbourhood
from hardmine.records import Recipe, Verdict
from hardmine.rng import keyed
from hardmine.store import ParameterStore


class Miner:
    """The search for hard parameters.

    Args:
        store: where first parameters and stored neighbours come from, its areas in the order of the index images.
        neighbourhood: turns a hard parameter into the next one.
        first: draws first parameters.
        conversion: makes candidates of sources and recipes; the store is fitted to its axes. Of a store with luminance
            alone it converts luminance alone.
        buffer: takes the pieces in.
        stopping: when the search is over; None goes on to the end of training.
        candidates: K, candidates per row of a batch.
        seed: of every draw.
        hardest, threshold: what becomes a piece, see `Hardness`.
    """

    def __init__(
        self,
        store: ParameterStore,
        neighbourhood: Neighbourhood,
        first: FirstParameter | None = None,
        conversion: Conversion | None = None,
        buffer: RecipeBuffer | None = None,
        stopping: Stopping | None = None,
        candidates: int = 1,
        seed: int = 0,
        hardest: float = 1.0,
        threshold: float | None = None,
    ) -> None:
        if candidates < 1:
            raise ValueError(f"candidates must be >= 1, got {candidates}")
        self.conversion = suited(conversion or ColorTransfer(), store.space)
        self.store = store.fitted(self.conversion.space)
        self.graph = Graph(self.store, grows=getattr(neighbourhood, "grows", False))
        self.neighbourhood = neighbourhood
        self.first = first or First()
        self.buffer = RecipeBuffer() if buffer is None else buffer
        self.stopping = stopping or Stopping()
        self.candidates = candidates
        self.seed = seed
        self.hardness = Hardness(len(self.store), hardest, threshold)
        self.tally = Tally()
        self.step = 0  # optimiser step of the latest proposals
        self.rounds = 0  # proposals made so far; several may fall into one step

    def propose(self, rows: Recipe, step: int, rank: int = 0, ranks: int = 1) -> Recipe:
        """The parameters to try next on the sources of a batch.

        A row that is a piece gets neighbours of its parameter (R28). A clean row, a piece whose parameter is no longer
        hard (R36) and one whose neighbourhood is exhausted get first parameters.

        Args:
            rows: what the batch trains on, B rows.
            step: optimiser steps made so far.
            rank, ranks: whose rows these are; each rank draws on its own.

        Returns:
            B * K candidates; those of row b are rows b * K to b * K + K - 1. A row of whose areas no target has any
            stays as it is, with no region chosen.
        """
        self.step = step
        generator = keyed(self.seed, "propose", self.rounds * ranks + rank)
        self.rounds += 1
        rows = rows[torch.arange(len(rows)).repeat_interleave(self.candidates)]
        fresh = rows.replace(piece=torch.full_like(rows.piece, -1))
        near, found = self.neighbourhood(fresh, self.store, self.graph, generator)
        near = near.replace(parent=rows.piece, depth=rows.depth + 1)
        neighbour = found & (rows.piece >= 0) & self.hardness.still(rows, self.graph.accuracy[:, -1])
        # only for rows that use them: an enumeration gives each member once
        first = self.begin(fresh[~neighbour], generator)
        both = Recipe.cat([near[neighbour], first])
        return both[torch.cat([neighbour.nonzero(), (~neighbour).nonzero()]).flatten().argsort()]

    def admit(self, candidates: Recipe, score: Tensor, area_score: Tensor, gate: Tensor) -> tuple[Recipe, Verdict]:
        """Judge scored candidates and remember what came of them.

        Args:
            candidates: N rows from `propose`.
            score: (N,) recognition accuracy.
            area_score: (N, R) the same per region; NaN where the source lacks the area.
            gate: (N,) int64, which gate refused the candidate, -1 none.

        Returns:
            The candidates, numbered where they became pieces, and their verdicts.
        """
        score = score.masked_fill(~score.isfinite(), torch.nan)  # never hard
        hard, drop = self.hardness(candidates, score, self.buffer.drops(candidates.parent))
        verdict = Verdict(score, area_score, hard, gate, torch.full((len(score),), self.step), drop)
        present = candidates.present & ~area_score.isnan()
        present[:, -1] = True
        candidates = candidates.replace(present=present)
        self.graph.update(candidates, verdict)
        candidates = self.buffer.admit(candidates, verdict)
        neighbour = candidates.parent >= 0
        self.tally.candidates += len(score)
        self.tally.unscored += int(score.isnan().sum())
        self.tally.pieces += int(verdict.piece.sum())
        self.tally.neighbours += int(neighbour.sum())
        self.tally.neighbour_pieces += int((neighbour & verdict.piece).sum())
        self.tally.refused += int((verdict.hard & ~verdict.piece).sum())
        self.stopping.update(self.tally.candidates, self.tally.pieces)
        return candidates, verdict

    def begin(self, rows: Recipe, generator: torch.Generator) -> Recipe:
        """First parameters; where nothing of an image can be converted, the row leaves it as it is."""
        first, found = self.first(rows, self.store, self.graph, generator)
        clean = Recipe.clean(rows.source, rows.draw, self.store.regions, len(self.store.space))
        return first.where(found, clean.replace(present=rows.present))

    def state_dict(self) -> dict[str, Any]:
        """Plain tensors and numbers, loadable with `weights_only=True`."""
        return {
            "graph": self.graph.state_dict(),
            "buffer": self.buffer.state_dict(),
            "tally": vars(self.tally).copy(),
            "stopping": self.stopping.state_dict(),
            "step": self.step,
            "rounds": self.rounds,
            "hardness": self.hardness.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.graph.load_state_dict(state["graph"])
        self.buffer.load_state_dict(state["buffer"])
        self.tally = Tally(**state["tally"])
        self.stopping.load_state_dict(state["stopping"])
        self.step, self.rounds = state["step"], state["rounds"]
        self.hardness.load_state_dict(state["hardness"])
