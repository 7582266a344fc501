"""The camera: which ground a pixel sees, and where in the picture something on the ground stands."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]

_FOCAL = 1.2  # in picture heights: a moderate wide angle


@dataclass(frozen=True)
class Camera:
    """A camera at height 1 over the ground that looks along z.

    Attributes:
        size: (H, W) of its pictures in pixels.
        horizon: row of the horizon as a share of H; negative when it lies above the picture.
    """

    size: tuple[int, int]
    horizon: float

    def ground(self) -> tuple[Plane, Plane]:
        """x, z (H, W) of the ground each pixel sees: z = 1 at the lower edge, 40 at the horizon and over it."""
        height, width = self.size
        rows = (np.arange(height, dtype=np.float32) + 0.5) / height
        columns = ((np.arange(width, dtype=np.float32) + 0.5) - width / 2) / height
        z = ((1 - self.horizon) / np.maximum(rows - self.horizon, 0.025 * (1 - self.horizon)))[:, None]
        x = columns * z / _FOCAL
        return np.array(x, np.float32), np.array(np.broadcast_to(z, x.shape), np.float32)

    def point(self, rng: np.random.Generator, rows: tuple[float, float]) -> tuple[float, float]:
        """Ground position (x, z) of a random picture point between two rows, given as shares of H."""
        z = (1 - self.horizon) / (float(rng.uniform(*rows)) - self.horizon)
        return float(rng.uniform(-0.3, 0.3)) * z / _FOCAL, z

    def pixel(self, x: float, z: float) -> tuple[int, int]:
        """Row and column that see the ground position (x, z)."""
        row = ((1 - self.horizon) / z + self.horizon) * self.size[0]
        return int(row), round(x * self.scale(z) + self.size[1] / 2)

    def scale(self, z: float) -> float:
        """Pixels per unit of length at distance z."""
        return _FOCAL * self.size[0] / z
