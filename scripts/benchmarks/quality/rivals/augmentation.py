"""The rivals that need no store: colours of training images changed at random."""

from collections.abc import Callable
from typing import Any

import lightning as L
import torch
from torch import Tensor
from torchvision.transforms.v2 import TrivialAugmentWide

from hardmine.errors import InputError
from hardmine.rng import global_state_kept, key, seed_globally

_PHOTOMETRIC = (
    "Identity",
    "Brightness",
    "Color",
    "Contrast",
    "Sharpness",
    "Posterize",
    "Solarize",
    "AutoContrast",
    "Equalize",
)


class Augmentation(L.Callback):
    """Changes the colours of training images, each on its own and with the same chance.

    What an image gets depends on its `draw` alone, the seed under which the data set made it. The batch holds it beside
    the images, so that an order of batches that comes again brings the same colours again.

    Args:
        transform: of an image (3, H, W) uint8 to the same; it draws from torch's global generator.
        p: chance of an image to be changed.

    Raises:
        InputError: a chance that is none; in training, batches without numbers or float images, or a transform that
            moves pixels.
    """

    def __init__(self, transform: Callable[[Tensor], Tensor], p: float = 0.5) -> None:
        if not 0 <= p <= 1:
            raise InputError(f"p must be a chance from 0 to 1, got {p}")
        self.transform, self.p = transform, p

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        image, draws = (batch.get(name) if isinstance(batch, dict) else None for name in ("image", "draw"))
        if not isinstance(image, Tensor) or not image.is_floating_point() or not isinstance(draws, Tensor):
            raise InputError("Augmentation needs batches that are dicts with float `image` in [0, 1] and `draw`")
        levels = (image * 255).round().byte()
        made = image.clone()
        with global_state_kept():
            for row, draw in enumerate(draws.tolist()):
                seed_globally(key("augment", draw))  # not the draw itself, by which the data set has mirrored the image
                if torch.rand(()) < self.p:
                    made[row] = self._changed(levels[row]) / 255
        batch["image"] = made

    def _changed(self, image: Tensor) -> Tensor:
        made = self.transform(image)
        if made.dtype != torch.uint8 or made.shape != image.shape:
            raise InputError(
                f"augment must keep an image {tuple(image.shape)} uint8, it made {tuple(made.shape)} {made.dtype}: "
                "take one that changes colours alone"
            )
        return made


class PhotometricTrivialAugment(TrivialAugmentWide):  # type: ignore[misc]  # torchvision ships no types
    """TrivialAugment (Wide, arXiv:2103.10158) without the operations that move pixels: the labels would not follow."""

    _AUGMENTATION_SPACE = {name: TrivialAugmentWide._AUGMENTATION_SPACE[name] for name in _PHOTOMETRIC}  # noqa: RUF012
