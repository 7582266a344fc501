"""Colour transfer area by area, on one core, against the loops that a user would write; alternated in one run.

ratio_opencv_k1     megapixels of output per second / those of a loop over areas in OpenCV, one candidate of each source
ratio_opencv_k8     likewise with eight; the loop measures each source once, too
ratio_areas         megapixels with 150 areas / with 12, the same pixels
fraction_of_copy_k8 megapixels / those of a copy of the float image, eight candidates
max_abs_error       largest difference of mean or standard deviation of an area from scikit-image in float64, Lab units

Each ratio is the median over rounds, with quartiles; every way is run once in each round.
"""

import statistics
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import cv2
import kornia
import numpy as np
import skimage.color
import torch
from measuring import here, parser, quartiles, ratios, show, taking_turns
from numpy.typing import NDArray

from hardmine import kernels
from hardmine.kernels.transfer import Table, affine
from hardmine.records import Distribution, Recipe

Values = NDArray[Any]


class Work:
    """Sources with index images, and the statistics that each candidate shall have.

    Args:
        size: H and W.
        areas: A.
        candidates: K of each of B sources.
        sources: B.
    """

    def __init__(self, size: tuple[int, int], areas: int, candidates: int, sources: int = 8) -> None:
        generator = torch.Generator().manual_seed(0)
        height, width = size
        rough = torch.rand(sources, 3, 9, 12, generator=generator)
        smooth = torch.nn.functional.interpolate(rough, size, mode="bicubic", align_corners=False) * 255
        noise = torch.randn(smooth.shape, generator=generator) * 12
        self.image = (smooth + noise).clamp(0, 255).byte()
        down, across = torch.arange(height)[:, None], torch.arange(width)
        columns = max(round((areas * width / height) ** 0.5), 1)  # areas lie side by side in blocks, as objects do
        rows = -(-areas // columns)
        block = down * rows // height * columns + across * columns // width
        self.regions = block.clamp(max=areas - 1).byte().expand(sources, -1, -1).contiguous()
        self.areas, self.of = areas, torch.arange(sources).repeat_interleave(candidates)
        n = len(self.of)
        low, span = torch.tensor([25.0, -15, -15, 5, 3, 3]), torch.tensor([50.0, 30, 30, 12, 6, 6])
        self.target = low + span * torch.rand(n, areas + 1, 6, generator=generator)
        self.pixels = n * height * width
        self.floats = torch.rand(n, 3, *size)
        self.copied = torch.empty_like(self.floats)


def by_hardmine(work: Work) -> None:
    measured = kernels.measure(work.image, work.regions, work.areas, "lab")
    n, shape = len(work.of), work.target.shape[:2]
    none = torch.full(shape, -1)
    chosen = torch.ones(shape, dtype=torch.bool)
    zero = torch.zeros(n, dtype=torch.int64)
    recipe = Recipe.clean(zero, zero, shape[1], 6).replace(chosen=chosen, parameter=work.target, target=none)
    gain, offset, _ = affine(measured[work.of], recipe)
    kernels.convert(work.image, work.regions, Table(chosen, gain, offset, work.of), "lab")


def _statistics(pixels: Values) -> tuple[Values, Values] | None:
    return (pixels.mean(0), np.maximum(pixels.std(0), 1)) if len(pixels) else None


def _loop(work: Work, to_lab: Callable[[NDArray[np.uint8]], Values], to_rgb: Callable[[Values], Values]) -> None:
    """Each source is measured once; its candidates are converted one after the other."""
    source = -1
    for row, of in enumerate(work.of.tolist()):
        if of != source:
            source = of
            lab = to_lab(work.image[of].permute(1, 2, 0).contiguous().numpy())
            labels = work.regions[of].numpy()
            inside = [labels == area for area in range(work.areas)]
            known = [
                (lab[where].mean(0), np.maximum(lab[where].std(0), 1)) if where.any() else None for where in inside
            ]
        made = lab.copy()
        for area, found in enumerate(known):
            if found is not None:
                mean, std = found
                to = work.target[row, area].numpy()
                made[inside[area]] = (lab[inside[area]] - mean) * np.minimum(to[3:] / std, 4) + to[:3]
        to_rgb(made)


def by_opencv(work: Work) -> None:
    def to_lab(image: NDArray[np.uint8]) -> Values:
        return cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)

    def to_rgb(lab: Values) -> Values:
        return (cv2.cvtColor(lab, cv2.COLOR_LAB2RGB) * 255).round().clip(0, 255).astype(np.uint8)

    _loop(work, to_lab, to_rgb)


def by_skimage(work: Work) -> None:
    warnings.filterwarnings("ignore", message=".*negative Z values.*")  # colours outside the gamut are meant

    def to_rgb(lab: Values) -> Values:
        made: Values = skimage.color.lab2rgb(lab) * 255
        return made.round().clip(0, 255).astype(np.uint8)

    _loop(work, lambda image: skimage.color.rgb2lab(image).astype(np.float32), to_rgb)


def by_kornia(work: Work) -> None:
    """Sources as a batch, areas one after the other."""
    lab = kornia.color.rgb_to_lab(work.image.float() / 255)
    repeated, made = lab[work.of], lab[work.of].clone()
    for area in range(work.areas):
        inside = (work.regions == area)[:, None]
        count = inside.sum((2, 3), keepdim=True).clamp(min=1)
        mean = (lab * inside).sum((2, 3), keepdim=True) / count
        std = ((lab - mean).square() * inside).sum((2, 3), keepdim=True).div(count).sqrt().clamp(min=1)
        to = work.target[:, area, :, None, None]
        moved = (repeated - mean[work.of]) * (to[:, 3:] / std[work.of]).clamp(max=4) + to[:, :3]
        made = torch.where(inside[work.of], moved, made)
    (kornia.color.lab_to_rgb(made) * 255).round().byte()


def by_copy(work: Work) -> None:
    """What memory allows at most: the float images of all candidates, copied once."""
    work.copied.copy_(work.floats)


def rounds(work: Work, ways: dict[str, Callable[[Work], None]], number: int) -> dict[str, list[float]]:
    """Megapixels of output per second of each way in each round."""
    spent = taking_turns({name: partial(way, work) for name, way in ways.items()}, number)
    return {name: [work.pixels / seconds / 1e6 for seconds in each] for name, each in spent.items()}


def ratio(found: dict[str, list[float]], one: str, other: str) -> list[float]:
    """Median and quartiles of the ratio of two ways, round by round."""
    return quartiles(ratios(found[one], found[other]))


def largest_error() -> float:
    """Of means and deviations, against scikit-image's Lab in float64."""
    work = Work((96, 128), 12, 1)
    measured: Distribution = kernels.measure(work.image, work.regions, work.areas, "lab")

    def errors() -> Iterator[float]:
        for row in range(len(work.image)):
            lab = skimage.color.rgb2lab(work.image[row].permute(1, 2, 0).numpy().astype(np.float64) / 255)
            for area in range(work.areas):
                inside = lab[work.regions[row].numpy() == area]
                yield float(np.abs(measured.mean[row, area].numpy() - inside.mean(0)).max())
                yield float(np.abs(measured.std[row, area].numpy() - inside.std(0)).max())

    return max(errors())


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--rounds", type=int, default=7, help="that are measured")
    options.add_argument("--size", type=int, nargs=2, default=(360, 480), metavar=("H", "W"), help="pixels")
    options.add_argument("--kernel", default="auto", help="auto, fused or reference")
    arguments = options.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    kernels.take(arguments.kernel)
    size = (arguments.size[0], arguments.size[1])
    loops = {"opencv": by_opencv, "skimage": by_skimage, "kornia": by_kornia}
    one = rounds(Work(size, 12, 1), {"hardmine": by_hardmine, **loops}, arguments.rounds)
    eight = rounds(Work(size, 12, 8), {"hardmine": by_hardmine, **loops, "copy": by_copy}, arguments.rounds)
    few, many = Work(size, 12, 1), Work(size, 150, 1)
    areas = rounds(few, {"few": by_hardmine, "many": lambda _: by_hardmine(many)}, arguments.rounds)
    result = {
        "ratio_opencv_k1": ratio(one, "hardmine", "opencv"),
        "ratio_opencv_k8": ratio(eight, "hardmine", "opencv"),
        "ratio_skimage_k1": ratio(one, "hardmine", "skimage"),
        "ratio_kornia_k1": ratio(one, "hardmine", "kornia"),
        "ratio_areas": ratio(areas, "many", "few"),
        "fraction_of_copy_k8": ratio(eight, "hardmine", "copy"),
        "max_abs_error": round(largest_error(), 6),
        "megapixels_k1": {name: round(statistics.median(values), 1) for name, values in one.items()},
        "megapixels_k8": {name: round(statistics.median(values), 1) for name, values in eight.items()},
        "kernel": arguments.kernel,
        "size": list(size),
        "rounds": arguments.rounds,
        **here(),
    }
    show(result, arguments.json)


if __name__ == "__main__":
    main()
