"""What a model makes of candidates: recognition accuracy, and which gate refuses them (R22, R24)."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from hardmine.candidates import Candidates
from hardmine.errors import InputError
from hardmine.judge.average import Average
from hardmine.judge.gates import Gate
from hardmine.judge.prediction import are_probabilities, canonical, values_in
from hardmine.judge.scoring import Scoring
from hardmine.records import VOID

Predict = Callable[[nn.Module, Any], Any]


class Judge:
    """Scores candidates and shows them to the gates.

    Args:
        scoring: recognition accuracy of what the model gives.
        gates: what a hard candidate must pass as well.
        predict: what a module gives for a batch of candidates.
    """

    def __init__(self, scoring: Scoring, gates: Sequence[Gate], predict: Predict) -> None:
        self.scoring, self.gates, self.predict = scoring, list(gates), predict
        self.probabilities = False  # the model gives these, not logits; found in the first calls
        self._known = False  # whether that has been found
        self._seen = 0  # values that could not tell

    def __call__(
        self,
        model: nn.Module,
        candidates: Candidates,
        forward_context: Callable[[], AbstractContextManager[Any]] = nullcontext,
        average: Average | None = None,
    ) -> Tensor:
        """Start computing on the device; nothing waits for it.

        Args:
            model: what is trained.
            candidates: N of them; the prediction is kept with them.
            forward_context: autocast, as the model is trained.
            average: of the model, which judges in its place; None takes the model as it is.

        Returns:
            (N, R + 2) float32: score, score of each region, and the number of the gate that refused or -1; see
            `split`.

        Raises:
            InputError: a forward that does not take the images alone, in the first call.
        """
        areas = candidates.converted.areas
        chosen = candidates.recipe.chosen.to(candidates.converted.image.device, non_blocking=True)

        def predicted(module: nn.Module) -> Any:
            with forward_context():
                return self.predict(module, candidates.batch)

        def judged(of: Average) -> tuple[Any, Tensor, Tensor]:
            prediction = self._first(of, model, predicted, candidates.labels)
            prediction = canonical(prediction, candidates.labels, self.probabilities)
            return prediction, *_of_numbers(prediction, *self.scoring(prediction, candidates.labels, areas, chosen))

        candidates.prediction, score, area_score = judged(average or Average(0.0))
        refused = torch.full_like(score, -1)
        for number, gate in enumerate(self.gates):
            passed = gate(candidates.source, candidates.converted, candidates.capped, lambda other: judged(other)[1])
            refused = torch.where((refused < 0) & ~passed, number, refused)
        return torch.cat([score[:, None], area_score, refused[:, None]], dim=1).float()

    def rehearse(
        self,
        model: nn.Module,
        batch: Any,
        labels: Mapping[str, Tensor],
        areas: int,
        forward_context: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        """See that the model gives something for a batch that can be scored; it waits for the device.

        Args:
            model: what is trained.
            batch: as the model takes it.
            labels: of the batch, as a scoring takes them, without the regions.
            areas: A.
            forward_context: autocast, as the model is trained.

        Raises:
            InputError: it does not.
        """

        def predicted(module: nn.Module) -> Any:
            with forward_context():
                return self.predict(module, batch)

        if any(isinstance(each, UninitializedParameter) for each in model.parameters()):
            raise InputError("the module has lazy layers whose size is not known yet: run it on a batch before fit")
        logits = canonical(_told(Average(0.0), model, predicted), labels)
        target = labels.get("target")
        self._try(logits, labels, areas)
        if target is None:
            return
        known = target[target != VOID] if target.ndim > 1 else target
        if len(known) and int(known.max()) >= logits.shape[1]:
            raise InputError(
                f"predict: the model gives {logits.shape[1]} classes and a label is {int(known.max())}: give the "
                "labels that it learns, View(ignore_index=...), or predict=lambda module, batch: logits"
            )

    def _try(self, prediction: Any, labels: Mapping[str, Tensor], areas: int) -> None:
        some = next(iter(labels.values()))
        shape = some.shape if some.ndim == 3 and "boxes" not in labels else (len(some), 1, 1)
        regions = torch.zeros(shape, dtype=torch.uint8, device=some.device)
        chosen = torch.ones(len(some), areas + 1, dtype=torch.bool, device=some.device)
        try:
            self.scoring(prediction, {**labels, "regions": regions}, areas, chosen)
        except (InputError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            why = " ".join(str(error).split())[:80]
            kind = "boxes" if "boxes" in labels else "label maps" if some.ndim == 3 else "classes"
            raise InputError(
                f"scoring: {type(self.scoring).__name__} cannot score labels that are {kind} ({why}): leave scoring "
                "out, and it is chosen by the labels"
            ) from error

    def _first(
        self, of: Average, model: nn.Module, predicted: Callable[[nn.Module], Any], labels: Mapping[str, Tensor]
    ) -> Any:
        if self._known:
            return of(model, predicted)
        prediction = _told(of, model, predicted)
        found = are_probabilities(prediction, labels, self._seen)
        self._known, self.probabilities = found is not None, bool(found)
        self._seen += values_in(prediction, labels)
        return prediction


def _told(of: Average, model: nn.Module, predicted: Callable[[nn.Module], Any]) -> Any:
    try:
        return of(model, predicted)
    except (InputError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # whatever a stranger's forward raises when it is given images alone
        why = " ".join(str(error).split())[:160]
        raise InputError(
            f"predict: the module cannot be called with the images alone ({why}): give "
            "predict=lambda module, batch: logits"
        ) from error


def _of_numbers(prediction: Any, score: Tensor, area_score: Tensor) -> tuple[Tensor, Tensor]:
    """Scores; NaN where the prediction has one, which is no class and recognises nothing."""
    if not isinstance(prediction, Tensor):
        return score, area_score
    none = prediction.flatten(1).amax(1).isnan()
    return score.masked_fill(none, torch.nan), area_score.masked_fill(none[:, None], torch.nan)


def split(judged: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Score (N,), score of each region (N, R), and gate (N,) int64, of what a `Judge` gave."""
    return judged[:, 0], judged[:, 1:-1], judged[:, -1].long()
