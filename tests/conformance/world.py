"""A small world: photographs of sky, road and river whose colours are known, and networks that tell them apart."""

import csv
import warnings
from collections.abc import Mapping
from itertools import product
from pathlib import Path

import numpy as np
import skimage.color
import torch
from PIL import Image
from torch import Tensor, nn

Array = np.ndarray
AREAS = ("sky", "road", "river")
HEIGHT, WIDTH = 22, 24  # the first two rows are void, so that 480 pixels have a label
LAYOUTS = ((6, 8, 6), (4, 4, 12), (8, 12, 0))  # rows of each area: 30, 40 and 30 %; much water; none
LIGHT = np.array([[76.0, -2, -14], [50, 2, 4], [24, -4, 2]])  # L*, a*, b* of the areas on a sunny morning
TIMES = {"morning": 0.0, "day": 7.0, "night": -19.0}  # by how much lighter that is
WEATHERS = {"sunny": 0.0, "rainy": -8.0, "cloudy": -4.0}
SOURCES, COPIES = 12, 2  # images by day; targets of each time and weather
SOFT = 0.2  # how much less sure of a class the network of whole images is
NORMAL = (np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225]))  # mean and deviation of ImageNet's pixels


class Pixels(nn.Conv2d):
    """Tells the class of each pixel by its colour alone."""

    def __init__(self, classes: int) -> None:
        super().__init__(3, classes, 1)


class Mean(nn.Module):
    """Tells the class of an image by its mean colour."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.pixels = Pixels(classes)

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.pixels(image).mean((2, 3))
        return logits


class Boxes(nn.Module):
    """Finds two objects at known places; the brighter the place, the surer."""

    PLACES = ((0.0, 2.0, 24.0, 8.0), (0.0, 8.0, 24.0, 16.0))

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.level = nn.Parameter(torch.zeros(()))

    def forward(self, images: list[Tensor], truth: list[dict[str, Tensor]] | None = None) -> object:
        if self.training:
            return {"loss": self.level.square()}
        found = torch.tensor(self.PLACES)
        means = [torch.stack([image[:, int(y) : int(v)].mean() for _, y, _, v in self.PLACES]) for image in images]
        return [{"boxes": found, "scores": each, "labels": torch.arange(2)} for each in means]


def by_brightness(centers: tuple[float, ...] = (0.8, 0.53, 0.268), sharp: float = 20.0) -> dict[str, Tensor]:
    """Weights of `Pixels` that give a pixel to the class whose brightness is nearest."""
    mean, deviation = NORMAL
    weight = np.stack([2 * sharp * center * deviation / 3 for center in centers])
    bias = np.array([sharp * (2 * center * mean.mean() - center**2) for center in centers])
    return {"weight": torch.from_numpy(weight[..., None, None]).float(), "bias": torch.from_numpy(bias).float()}


def rgb_of(lab: Array) -> Array:
    """CIE L*a*b* (H, W, 3) as sRGB, whole numbers from 0 to 255, by another library."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of colours that no screen can show
        rgb: Array = (skimage.color.lab2rgb(lab).clip(0, 1) * 255).round()
    return rgb


def photograph(layout: int, means: Array, stds: Array, seed: int) -> tuple[Array, Array]:
    """An image whose areas have nearly these means and deviations in L*a*b*, and its index image."""
    rng = np.random.default_rng(seed)
    regions = np.full((HEIGHT, WIDTH), 255, np.uint8)
    regions[2:] = np.repeat(np.arange(3), LAYOUTS[layout])[:, None]
    below = 2 + LAYOUTS[layout][0]  # where the sky ends: lower on the left, higher on the right, so that mirrors show
    regions[below, :6], regions[below - 1, -6:] = 0, 1
    lab = np.zeros((HEIGHT, WIDTH, 3))
    lab[:2] = (60, 5, 5)
    for area in range(3):
        inside = regions == area
        if inside.any():
            noise = rng.normal(0, 1, (int(inside.sum()), 3))
            noise = (noise - noise.mean(0)) / noise.std(0)
            lab[inside] = means[area] + noise * np.array([stds[area], 0.3 * stds[area], 0.3 * stds[area]])
    return rgb_of(lab).astype(np.uint8), regions


def _lit(lighter: float, yellower: float = 0.0) -> Array:
    """(3, 3): L*, a*, b* of the areas in another light."""
    return np.asarray(LIGHT + np.array([lighter, 0, yellower]))


def write_world(root: Path) -> Path:
    """A folder in hardmine's layout: sources by day, and targets of every time and weather."""
    (root / "images").mkdir(parents=True)
    (root / "regions").mkdir()
    rows: list[dict[str, str]] = []

    def write(name: str, split: str, time: str, weather: str, image: Array, regions: Array) -> None:
        Image.fromarray(image).save(root / f"images/{name}.png")
        Image.fromarray(regions).save(root / f"regions/{name}.png")
        rows.append({"id": name, "split": split, "time": time, "weather": weather, "label": AREAS[len(rows) % 3]})

    for number in range(SOURCES):
        stds = np.array([3.0, 3.0, 3.0])
        stds[2] = 0.0 if number in (3, 4) else 3.0  # as flat as water can be
        stds[1] = 1.5 if number == 2 else 3.0  # of less contrast than a quarter of what the targets have
        light = _lit(TIMES["day"]) + np.random.default_rng(number).normal(0, 1.5, (3, 3))
        write(f"s{number:02d}", "train", "day", "sunny", *photograph(number % 3, light, stds, number))
    for number, split in enumerate(("val", "val", "test", "test")):
        time = "day" if split == "val" else "night"
        light = _lit(TIMES[time])
        write(f"{split}{number}", split, time, "sunny", *photograph(0, light, np.full(3, 3.0), 50 + number))
    cells = product(TIMES.items(), WEATHERS.items(), range(COPIES))
    for number, ((time, lighter), (weather, duller), copy) in enumerate(cells):
        rng = np.random.default_rng(100 + number)
        light = _lit(lighter + duller + 2.0 * copy, -0.2 * lighter) + rng.normal(0, 1.5, (3, 3))
        stds = rng.uniform(3, 8, 3)
        write(f"t{number:02d}", "target", time, weather, *photograph(0, light, stds, 100 + number))
    names = ["id", "split", "time", "weather"]
    write_rows(root / "metadata.csv", [{name: row[name] for name in names} for row in rows])
    write_rows(root / "classes.csv", [{"index": str(index), "name": name} for index, name in enumerate(AREAS)])
    return root


def write_rows(path: Path, rows: list[Mapping[str, str]] | list[dict[str, str]]) -> None:
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
