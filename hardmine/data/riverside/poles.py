"""Poles: where they stand, and the outline of each in the picture."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hardmine.data.riverside.camera import Camera, Plane

# Concrete, weathered wood, white paint, red lead, green paint.
_PAINTS = ((0.40, 0.38, 0.35), (0.22, 0.12, 0.06), (0.62, 0.60, 0.56), (0.32, 0.09, 0.05), (0.06, 0.15, 0.11))
_PAINTED = (0.3, 0.25, 0.2, 0.15, 0.1)  # how often each is met
_HEAD = 1.7  # width of a lamp's head in widths of its pole


@dataclass(frozen=True)
class Pole:
    """A standing pole: foot at (x, z), height and radius, all in camera heights; a lamp hangs at its top or not."""

    x: float
    z: float
    height: float
    radius: float
    lamp: bool


@dataclass(frozen=True)
class Outline:
    """Pixels of a pole.

    Attributes:
        box: rows and columns of the rectangle around it.
        across: (h, w) float64 over `box`, -1 at the left edge of the pole to 1 at the right, beyond that outside.
        inside: (h, w) bool over `box`, its pixels.
        glow: (h, w) bool over `box`, those of its lamp.
        below: rows and columns of its image in water at its foot.
    """

    box: tuple[slice, slice]
    across: NDArray[np.float64]
    inside: NDArray[np.bool_]
    glow: NDArray[np.bool_]
    below: tuple[slice, slice]


def place_poles(rng: np.random.Generator, grass: NDArray[np.bool_], x: Plane, z: Plane) -> tuple[Pole, ...]:
    """Draws up to four poles with their feet on grass, farthest first.

    Args:
        rng: source of randomness.
        grass: (H, W), where a foot may stand.
        x: (H, W), ground position.
        z: (H, W), likewise.
    """
    height, width = grass.shape
    poles: list[Pole] = []
    count = rng.integers(1, 5)
    for row, column in rng.uniform((0.27, 0.05), (0.97, 0.95), (48, 2)).tolist():
        at = int(row * height), int(column * width)
        if len(poles) == count:
            break
        if grass[at]:
            lamp = bool(rng.random() < 0.55)
            tall, radius = rng.uniform(0.75 if lamp else 0.5, 1.5), rng.uniform(0.018, 0.042)
            poles.append(Pole(float(x[at]), float(z[at]), tall, radius, lamp))
    return tuple(sorted(poles, key=lambda pole: -pole.z))


def draw_paint(rng: np.random.Generator) -> Plane:
    """Reflectance (3,) of one pole."""
    paint = np.array(_PAINTS[rng.choice(len(_PAINTS), p=_PAINTED)])
    return np.asarray(paint * rng.uniform(0.75, 1.1), np.float32)


def outline(pole: Pole, camera: Camera) -> Outline:
    """Finds the pixels of a pole, at least two of them side by side.

    Args:
        pole: the pole.
        camera: what looks at it.
    """
    foot, middle = camera.pixel(pole.x, pole.z)
    tall, half = pole.height * camera.scale(pole.z), max(1.0, pole.radius * camera.scale(pole.z))
    reach = int(half * _HEAD) if pole.lamp else int(half)
    left, top = max(0, middle - reach), max(0, int(foot - tall))
    columns = np.arange(left, min(camera.size[1], middle + reach), dtype=np.float32) + 0.5 - middle
    head = (np.arange(top, foot + 1) < int(foot - tall) + 0.04 * tall) & pole.lamp
    across = columns / np.where(head, half * _HEAD, half)[:, None]
    inside = np.abs(across) < 1
    span = slice(left, left + len(columns))
    below = slice(foot + 1, int(foot + tall)), span
    return Outline((slice(top, foot + 1), span), across, inside, inside & head[:, None], below)
