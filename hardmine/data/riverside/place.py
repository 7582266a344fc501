"""The place: banks, river, path and poles, laid out on the ground with their materials and textures."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hardmine.data.riverside.camera import Camera, Plane
from hardmine.data.riverside.poles import Pole, draw_paint, outline, place_poles

AREAS: tuple[str, ...] = ("grass", "pole", "asphalt", "river")
GRASS, POLE, ASPHALT, RIVER = range(4)
VOID = 255

_TABLE = 64  # side of the table of random heights that noise is read from; a power of two, to wrap with a mask

# Reflectances (linear RGB) between which a scene's area lies. Their ranges overlap: dry grass and old asphalt, brown
# water and worn asphalt, concrete and asphalt. The third of each is the rarest.
_ALBEDO = {
    GRASS: ((0.035, 0.140, 0.012), (0.085, 0.200, 0.022), (0.220, 0.205, 0.060)),
    ASPHALT: ((0.080, 0.080, 0.085), (0.190, 0.185, 0.180), (0.175, 0.165, 0.150)),
    RIVER: ((0.010, 0.090, 0.078), (0.088, 0.085, 0.055), (0.006, 0.065, 0.170)),
}
# Per label: grain per unit of x and of z, how far grain darkens and lightens, how far it tilts the surface.
_GRAIN = np.array([[30, 9, 0.55, 0.50], [9, 5, 0.25, 0.0], [42, 30, 0.22, 0.10], [3.5, 9, 0.10, 0.28]], np.float32)


@dataclass(frozen=True)
class Scene:
    """What stands before the camera, whatever the light.

    Attributes:
        regions: (H, W) uint8, index into `AREAS` or `VOID`.
        albedo: (3, H, W) float32, linear RGB reflectance in [0, 1].
        normal: (3, H, W) float32, about unit length.
        x: (H, W) float32, ground position; a pole's pixels have that of its foot.
        z: (H, W) float32, likewise.
        hollow: (H, W) float32 in [0, 1], how readily water stands there.
        mirrored: (H, W) float32 in [0, 1], share of the sky that a pole hides from water below it.
        glow: (H, W) bool, the lamps themselves.
        poles: the poles, farthest first.
    """

    regions: NDArray[np.uint8]
    albedo: Plane
    normal: Plane
    x: Plane
    z: Plane
    hollow: Plane
    mirrored: Plane
    glow: NDArray[np.bool_]
    poles: tuple[Pole, ...]


def lay_out(rng: np.random.Generator, size: tuple[int, int]) -> Scene:
    """Draws the place: banks, river, path and poles, their materials and textures.

    Args:
        rng: source of randomness.
        size: (H, W) in pixels.
    """
    camera = Camera(size, float(rng.uniform(-0.35, 0.06)))  # over 0, some sky is seen
    x, z = camera.ground()
    table = rng.random((_TABLE, _TABLE), dtype=np.float32)
    coarse = _noise(table, x * 1.7, z * 1.7) * 0.7 + _noise(table, x * 5.3 + 9, z * 5.3) * 0.3
    regions, along, across = _areas(rng, camera, x, z, coarse)
    albedo = _materials(rng, regions, coarse, along, across)
    hollow = np.asarray(np.clip((coarse - 0.42) * 5, 0, 1), np.float32)
    normal, mirrored, glow = np.zeros((3, *size), np.float32), np.zeros(size, np.float32), np.zeros(size, np.bool_)
    poles = place_poles(rng, regions == GRASS, x, z)
    scene = Scene(regions, albedo, normal, x, z, hollow, mirrored, glow, poles)
    for pole in poles:
        _stand(rng, scene, pole, camera)
    _texture(table, scene)
    return scene


def _noise(table: Plane, x: Plane, y: Plane) -> Plane:
    """Smooth random heights in [0, 1] with a mean of about 0.5 and one knot per unit of x and of y."""
    column, row = np.floor(x), np.floor(y)
    u, v = x - column, y - row
    u *= u * (3 - 2 * u)
    v *= v * (3 - 2 * v)
    left, top = column.astype(np.intp) & (_TABLE - 1), (row.astype(np.intp) & (_TABLE - 1)) * _TABLE
    right, low = (left + 1) & (_TABLE - 1), (top + _TABLE) & (_TABLE * _TABLE - 1)
    upper = table.take(top + left)
    upper += (table.take(top + right) - upper) * u
    lower = table.take(low + left)
    lower += (table.take(low + right) - lower) * u
    return upper + (lower - upper) * v


def _areas(
    rng: np.random.Generator, camera: Camera, x: Plane, z: Plane, coarse: Plane
) -> tuple[NDArray[np.uint8], Plane, Plane]:
    """Regions without poles (H, W) uint8, and coordinates along and across the path."""
    ragged = (coarse - 0.5) * 0.3
    for _ in range(12):  # a few draws push an area out of the picture
        slope = 1 if rng.random() < 0.5 else -1
        angle = slope * (rng.uniform(0, 0.4) if rng.random() < 0.6 else rng.uniform(0.5, 1.15))
        foot = camera.point(rng, (0.28, 0.45))
        _, river = _band(x, z, foot, angle, rng.uniform(0.05, 0.25), rng.uniform(0, 6.28))
        turn = rng.uniform(-0.3, 0.3) if rng.random() < 0.6 else rng.uniform(0.8, 2.3)
        lane = camera.point(rng, (0.62, 0.88))
        along, across = _band(x, z, lane, angle + turn, rng.uniform(0.02, 0.2), rng.uniform(0, 6.28))
        regions = np.full(x.shape, GRASS, np.uint8)
        regions[np.abs(across) + ragged * 0.2 < lane[1] * rng.uniform(0.12, 0.26)] = ASPHALT
        regions[np.abs(river) + ragged < foot[1] * rng.uniform(0.17, 0.32)] = RIVER
        count = np.bincount(regions[len(regions) // 4 :].ravel(), minlength=4)[[GRASS, ASPHALT, RIVER]]
        if count.min() > 0.08 * regions.size:
            break
    regions[z > 39.9] = VOID
    return regions, along, across


def _band(
    x: Plane, z: Plane, foot: tuple[float, float], angle: float, bend: float, phase: float
) -> tuple[Plane, Plane]:
    """Coordinates along and across a winding course through `foot` that leaves the x axis by `angle` radians."""
    dx, dz = x - foot[0], z - foot[1]
    along = dx * math.cos(angle) + dz * math.sin(angle)
    across = dz * math.cos(angle) - dx * math.sin(angle)
    across += bend * (np.sin(along * 1.1 + phase) - math.sin(phase))
    return along, across


def _materials(
    rng: np.random.Generator, regions: NDArray[np.uint8], coarse: Plane, along: Plane, across: Plane
) -> Plane:
    """Albedo (3, H, W) of the ground: a mixture per scene, patches of another mixture, stains, perhaps a lane mark."""
    ends = np.zeros((2, 256, 3), np.float32)
    for label, colors in _ALBEDO.items():
        ends[:, label] = rng.dirichlet((0.8, 0.8, 0.35), 2) @ np.array(colors)
    ends[1] = ends[0] * 0.55 + ends[1] * 0.45
    patch = np.clip(coarse * 2.4 - 0.7, 0, 1)
    albedo: Plane = ends[0].T.take(regions, axis=1)
    albedo += (ends[1].T.take(regions, axis=1) - albedo) * patch
    on_path = regions == ASPHALT
    albedo[:, on_path & (np.abs(coarse - 0.5) < 0.008)] *= 0.5  # level lines of noise look like cracks
    if rng.random() < 0.35:
        albedo[:, on_path & (np.abs(across) < 0.02) & (np.mod(along * 2.2, 1) < 0.55)] = 0.45
    return albedo


def _stand(rng: np.random.Generator, scene: Scene, pole: Pole, camera: Camera) -> None:
    """Draws a pole into the planes of a scene, in place."""
    shape = outline(pole, camera)
    box, inside, across = shape.box, shape.inside, shape.across[shape.inside]
    scene.regions[box][inside] = POLE
    scene.x[box][inside], scene.z[box][inside] = pole.x, pole.z
    scene.albedo[:, *box][:, inside] = draw_paint(rng)[:, None]
    scene.normal[0][box][inside] = across
    scene.normal[2][box][inside] = -np.sqrt(1 - across**2)
    scene.glow[box][inside] = shape.glow[inside]
    scene.mirrored[shape.below] = np.maximum(scene.mirrored[shape.below], 0.75)


def _texture(table: Plane, scene: Scene) -> None:
    """Grains the albedo and tilts the normals of the ground, in place."""
    per_x, per_z, contrast, tilt = _GRAIN.T.take(np.minimum(scene.regions, RIVER), axis=1)
    u, v = scene.x * per_x, scene.z * per_z
    # Far away a pixel averages several grains; without this the far bank looks like gravel.
    within = np.hypot(per_x * scene.z, per_z * scene.z * scene.z) / (1.2 * len(u))
    fine = _noise(table, u, v) * 0.62 + _noise(table, u * 2.3 + 5, v * 2.3) * 0.38 - 0.5
    fine *= 1 / (1 + within * within)
    scene.albedo[:] *= 1 + contrast * 2 * fine
    np.clip(scene.albedo, 0, 1, out=scene.albedo)
    scene.normal[1] = scene.regions != POLE
    tilt = tilt * 6
    scene.normal[0, :, 1:] -= np.diff(fine, axis=1) * tilt[:, 1:]
    scene.normal[2, 1:] += np.diff(fine, axis=0) * tilt[1:]
