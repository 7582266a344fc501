"""A model's prediction as a picture."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor
from torchvision.utils import draw_bounding_boxes

_SHOWN = 0.3  # confidence from which a detection is drawn


def draw_prediction(
    prediction: Tensor | Sequence[Mapping[str, Tensor]],
    row: int,
    image: NDArray[np.uint8],
    classes: Sequence[str],
    areas: int,
) -> NDArray[np.uint8]:
    """What a model says of one image, for a person to look at.

    Args:
        prediction: of a batch: (N, C, H, W) logits are painted, the class of (N, C) logits is written on the image,
            and so are boxes with their class from lists of `boxes`, `scores`, `labels`.
        row: which image of the batch.
        image: (H, W, 3) sRGB.
        classes: names; numbers are written where there are none.
        areas: colours that index images are painted in, at least.

    Returns:
        (H, W, 3) uint8.
    """
    if not isinstance(prediction, Tensor):
        return _boxes(prediction[row], image, classes)
    if prediction.ndim == 4:
        return paint(prediction[row].argmax(0), max(areas, prediction.shape[1]))
    confidence, index = prediction[row].float().softmax(0).max(0)
    return _written(f"{_name(classes, int(index))} {float(confidence):.0%}", image)


def paint(labels: Tensor, areas: int) -> NDArray[np.uint8]:
    """(H, W) labels as (H, W, 3) colours; void is black."""
    palette = np.zeros((256, 3), np.uint8)
    palette[:areas] = [_color(index) for index in range(areas)]
    picture: NDArray[np.uint8] = palette[labels.cpu().numpy().astype(np.uint8)]
    return picture


def _boxes(found: Mapping[str, Tensor], image: NDArray[np.uint8], classes: Sequence[str]) -> NDArray[np.uint8]:
    rows = found["scores"] >= _SHOWN
    boxes, scores, labels = (found[key][rows].cpu() for key in ("boxes", "scores", "labels"))
    if not len(boxes):  # torchvision warns of it
        return image.copy()
    names = [
        f"{_name(classes, label)} {score:.0%}" for label, score in zip(labels.tolist(), scores.tolist(), strict=True)
    ]
    drawn = draw_bounding_boxes(
        torch.from_numpy(image.copy()).permute(2, 0, 1),
        boxes.float(),
        labels=names,
        colors=[_color(label) for label in labels.tolist()],
        width=2,
    )
    picture: NDArray[np.uint8] = drawn.permute(1, 2, 0).numpy()
    return picture


def _written(text: str, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    picture = Image.fromarray(image)
    draw = ImageDraw.Draw(picture)
    draw.rectangle(draw.textbbox((2, 2), text), fill=(0, 0, 0))
    draw.text((2, 2), text, fill=(255, 255, 255))
    return np.array(picture)


def _name(classes: Sequence[str], index: int) -> str:
    return classes[index] if index < len(classes) else str(index)


def _color(index: int) -> tuple[int, int, int]:
    red, green, blue, _ = colormaps["tab20"](index % 20)
    return round(red * 255), round(green * 255), round(blue * 255)
