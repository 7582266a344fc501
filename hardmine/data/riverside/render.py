"""Generated photographs of a riverside under the light of a time of day and a weather, with their label images.

A scene is laid out once on a ground plane; light, haze, rain and a sensor then make the picture in linear light.
Nothing here moves colour statistics of an area, so a conversion that does is tested on light it did not define.

Lengths are in camera heights (about 4 m): x to the right, y up, z away from the camera, the ground at y = 0. Light is
in units of a white card under the midday sun. Pictures stay three planes (3, H, W) of float32 until the last step.
"""

import numpy as np
from numpy.typing import NDArray

from hardmine.data.riverside.light import TIMES, WEATHERS, draw_light
from hardmine.data.riverside.photo import expose
from hardmine.data.riverside.place import AREAS, VOID, lay_out

__all__ = ["AREAS", "SMALLEST", "TIMES", "VOID", "WEATHERS", "render"]

SMALLEST = 32  # pixels; a pole of two pixels would fill the banks of a smaller picture


def render(
    rng: np.random.Generator, size: tuple[int, int], time: str, weather: str
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draws a scene and a light and photographs one under the other.

    Args:
        rng: source of everything random; geometry is drawn first, so that one seed gives one place in any light.
        size: (H, W) in pixels, both at least 32.
        time: one of `TIMES`.
        weather: one of `WEATHERS`.

    Returns:
        image (H, W, 3) uint8 sRGB; regions (H, W) uint8, index into `AREAS` or `VOID`.

    Raises:
        ValueError: unknown time or weather, or a size under 32.
    """
    if time not in TIMES:
        raise ValueError(f"unknown time {time!r}; one of {', '.join(TIMES)}")
    if weather not in WEATHERS:
        raise ValueError(f"unknown weather {weather!r}; one of {', '.join(WEATHERS)}")
    if min(size) < SMALLEST:
        raise ValueError(f"size {size!r} is under {SMALLEST} pixels")
    scene = lay_out(rng, size)
    return expose(scene, draw_light(rng, time, weather), rng), scene.regions
