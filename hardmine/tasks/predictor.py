"""Index images from a segmentation network, for images that have none (`regions: predicted`)."""

from pathlib import Path

import torch
from torch import Tensor

from hardmine.errors import InputError
from hardmine.files import trouble
from hardmine.tasks.base import Task


class AreaPredictor:
    """Says which area each pixel of an image belongs to: the class that a segmentation task gives it.

    Args:
        task: a trained segmentation task; its classes are the areas.
    """

    def __init__(self, task: Task) -> None:
        self.task = task.eval()
        self.areas = tuple(task.classes)

    @torch.no_grad()
    def __call__(self, image: Tensor) -> Tensor:
        """Index image (H, W) uint8 of an image (3, H, W) uint8 sRGB; sides are padded to multiples of 32."""
        height, width = image.shape[1:]
        padding = (0, -width % 32, 0, -height % 32)
        padded = torch.nn.functional.pad(image[None].float() / 255, padding, mode="replicate")
        logits: Tensor = self.task(padded)
        return logits[0, :, :height, :width].argmax(dim=0).byte()


def classes_of(path: Path, key: str = "predictor") -> tuple[str, ...]:
    """Names of the classes that a checkpoint was trained on.

    Args:
        path: of the file.
        key: that names it.

    Raises:
        InputError: no checkpoint of hardmine's.
    """
    if why := trouble(path):
        raise InputError(f"{path}: {why}: set {key}=RUN_FOLDER/checkpoints/last.ckpt")
    try:
        return tuple(torch.load(path, map_location="cpu", weights_only=True)["classes"])
    except Exception as error:  # whatever a broken file makes torch raise
        raise InputError(f"{path}: no checkpoint of a hardmine run ({type(error).__name__}): name another") from None
