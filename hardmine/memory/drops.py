"""How far recognition accuracy drops under each parameter, whichever image it is put on."""

from math import isnan, nan
from typing import Any

import torch
from torch import Tensor

from hardmine.records import Recipe

_PRIOR = 2.0  # candidates without a drop that every parameter is thought to have had
_KEPT = 0.97  # of what is known of a parameter, with each further candidate: the model learns
_OF_SOURCE = 8  # candidates that the mean of a source is over
_LEVEL = 0.05  # share of the latest candidates in the running mean of all


class Drops:
    """Tells what a parameter does to the score of a candidate from what its image does.

    A score is taken as a sum: the present level of all candidates, what the source brings, what the parameter brings,
    and chance. Pieces are put on other sources than they were found on, so only the parameter's part says what they
    are worth; the score itself says above all how difficult the picture is. Both parts are running means. That of a
    parameter is drawn towards none where it has been tried rarely.

    A generated parameter has been tried once: it begins with the drop of the piece whose neighbour it is.

    Args:
        targets: M.

    Attributes:
        level: running mean of all scores; NaN before the first.
        drop: (M,) float32, the running mean of each stored parameter.
        count: (M,) float32, candidates that it is over, older ones counting less.
        sources: what each source brings and the candidates that the mean is over, of those met so far.
    """

    def __init__(self, targets: int) -> None:
        self.level = nan
        self.drop, self.count = (torch.zeros(targets, dtype=torch.float32) for _ in range(2))
        self.sources: dict[int, tuple[float, int]] = {}

    def look(self, candidates: Recipe, score: Tensor, before: Tensor) -> Tensor:
        """Learn from N scores.

        Args:
            candidates: N rows.
            score: (N,) recognition accuracy; NaN teaches nothing.
            before: (N,) the drop of the piece whose neighbour a candidate is; 0 where there is none.

        Returns:
            (N,) float32: the drop of each candidate's parameter, in the unit of the score; more is harder. NaN where
            the score is.
        """
        drop = torch.full_like(score, torch.nan)
        known = ~score.isnan()
        if known.any():
            drop[known] = self._look(candidates[known], score[known], before[known])
        return drop

    def _look(self, candidates: Recipe, score: Tensor, before: Tensor) -> Tensor:
        if isnan(self.level):
            self.level = float(score.mean())
        below = self.level - score
        brings = [self.sources.get(source, (0.0, 0)) for source in candidates.source.tolist()]
        rest = below - below.new_tensor([mean * count / (count + 1) for mean, count in brings])
        # where each area has a parameter of its own, a candidate tells its share of each
        row, region = (candidates.chosen & (candidates.target >= 0)).nonzero(as_tuple=True)
        share = candidates.chosen.sum(1)[row].to(score.dtype).reciprocal()
        stored = torch.zeros_like(score).index_add_(0, row, share)  # 1 or 0 as a rule
        drawn = self._learn(candidates.target[row, region].long(), rest[row], share)
        drop = torch.zeros_like(score).index_add_(0, row, share * drawn)
        drop += (1 - stored) * (_PRIOR * before + rest) / (_PRIOR + 1)
        for source, part in zip(candidates.source.tolist(), (below - drop).tolist(), strict=True):
            if source >= 0:  # those that nobody numbered are all kinds of images
                mean, count = self.sources.get(source, (0.0, 0))
                count = min(count, _OF_SOURCE - 1)
                self.sources[source] = (mean * count + part) / (count + 1), count + 1
        self.level += _LEVEL * (float(score.mean()) - self.level)
        return drop

    def _learn(self, target: Tensor, drop: Tensor, share: Tensor) -> Tensor:
        """(K,) what is known after K measurements on stored parameters, each counting as a share of a candidate."""
        each, place = torch.unique(target, return_inverse=True)
        tried, total = (drop.new_zeros(len(each)).index_add_(0, place, values) for values in (share, share * drop))
        kept = self.count[each] * _KEPT**tried
        self.count[each] = kept + tried
        self.drop[each] = (self.drop[each] * kept + total) / self.count[each]
        return self.of(each)[place]

    def of(self, target: Tensor) -> Tensor:
        """What is known of stored parameters, float32 in the shape of `target`; 0 where none was tried."""
        return self.drop[target] * self.count[target] / (self.count[target] + _PRIOR)

    def state_dict(self) -> dict[str, Any]:
        """Plain tensors and a number."""
        rows = [(source, mean, count) for source, (mean, count) in sorted(self.sources.items())]
        return {
            "level": self.level,
            "drop": self.drop.clone(),
            "count": self.count.clone(),
            "sources": torch.tensor([source for source, _, _ in rows], dtype=torch.int64),
            "means": torch.tensor([row[1:] for row in rows], dtype=torch.float64).view(-1, 2),
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        self.level = saved["level"]
        self.drop, self.count = saved["drop"].clone(), saved["count"].clone()
        means = [(mean, int(count)) for mean, count in saved["means"].tolist()]
        self.sources = dict(zip(saved["sources"].tolist(), means, strict=True))
