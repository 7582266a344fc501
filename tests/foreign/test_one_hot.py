"""One-hot masks (C, H, W), with a loss that wants them so."""

from typing import Any

from torch import Tensor, nn
from torch.utils.data import DataLoader

import hardmine
from foreign.conftest import AREAS, Segmented, Segmenter, check_areas, loader, mine


class OneHot(Segmented):
    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, labels = super().__getitem__(index)
        return image, nn.functional.one_hot(labels, 3).permute(2, 0, 1).float()


class Dice(Segmenter):
    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        image, mask = batch
        assert mask.shape == (len(image), 3, *image.shape[2:])
        assert bool((mask.sum(1) == 1).all())
        probability = self(image).softmax(1)
        both, total = (probability * mask).sum((0, 2, 3)), (probability + mask).sum((0, 2, 3))
        loss: Tensor = 1 - (2 * both / total.clamp(min=1)).mean()
        return loss


def project() -> tuple[Dice, DataLoader[Any]]:
    return Dice(), loader(OneHot())


def test_it_is_mined(store: hardmine.ParameterStore) -> None:
    mine(store, *project(), areas=AREAS)


def test_other_areas_stay(store: hardmine.ParameterStore) -> None:
    check_areas(store, project, lambda batch: (batch[0], batch[1].argmax(1)), areas=AREAS)
