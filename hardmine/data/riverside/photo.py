"""A photograph: what a camera makes of a scene under a light."""

import numpy as np
from numpy.typing import NDArray

from hardmine.data.riverside.camera import Plane
from hardmine.data.riverside.light import Light
from hardmine.data.riverside.place import ASPHALT, POLE, RIVER, VOID, Scene

# Per label: water in the pores of asphalt and earth traps light; grass sheds it.
_SOAKED = np.array([0.15, 0.2, 0.5, 0.0], np.float32)


def expose(scene: Scene, light: Light, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Photographs a scene.

    Args:
        scene: the place.
        light: its light.
        rng: source of the sensor's noise.

    Returns:
        (H, W, 3) uint8 sRGB.
    """
    radiance = _diffuse(scene, light)
    _mirror(radiance, scene, light)
    radiance[:, scene.glow] += light.lamp[:, None] * 6
    clear = np.exp(-light.haze * scene.z)
    radiance *= clear
    radiance += _planes(light.airlight) * (1 - clear)
    radiance[:, scene.regions == VOID] = (0.6 * light.sky + 0.4 * light.airlight)[:, None]
    signal = _blur(radiance, light.blur) * light.exposure
    # Photons arrive at random: the variance of a count is the count. The floor is the read noise of about 3 electrons.
    noise = np.sqrt(signal / light.electrons + (3 / light.electrons) ** 2)
    signal += noise * rng.standard_normal(signal.shape, dtype=np.float32)
    return _develop(signal)


def _planes(color: Plane) -> Plane:
    """(3,) as (3, 1, 1)."""
    return color[:, None, None]


def _diffuse(scene: Scene, light: Light) -> Plane:
    """Light (3, H, W) that matt surfaces send back."""
    facing = np.einsum("chw,c->hw", scene.normal, light.to_sun)
    np.maximum(facing, 0, out=facing)
    if light.sun.any():
        facing *= _sunlit(scene, light)
    open_sky = 0.6 + 0.4 * scene.normal[1]  # an upright surface sees half of the sky and some ground
    received: Plane = _planes(light.sun) * facing + _planes(light.sky) * open_sky
    if light.lamp.any():
        received += _planes(light.lamp) * _lamplight(scene)
    received *= scene.albedo
    received *= 1 - light.wet * _SOAKED[np.minimum(scene.regions, RIVER)]
    return received


def _sunlit(scene: Scene, light: Light) -> Plane:
    """Share (H, W) of the sun's light that reaches the ground past the poles."""
    seen = np.ones_like(scene.z)
    ground = scene.regions != POLE
    run = float(np.hypot(light.to_sun[0], light.to_sun[2]))
    away_x, away_z = -light.to_sun[0] / run, -light.to_sun[2] / run
    for pole in scene.poles:
        dx, dz = scene.x - pole.x, scene.z - pole.z
        behind = dx * away_x + dz * away_z
        aside = np.abs(dx * away_z - dz * away_x)
        length = pole.height * run / light.to_sun[1]
        seen[ground & (behind > 0) & (behind < length) & (aside < pole.radius)] = 0.15
    return seen


def _lamplight(scene: Scene) -> Plane:
    """Light (H, W) on the ground from all lamps: inverse square and the slant of the rays."""
    total = np.zeros_like(scene.z)
    for pole in scene.poles:
        if pole.lamp:
            reach = (scene.x - pole.x) ** 2 + (scene.z - pole.z) ** 2 + pole.height**2
            total += pole.height / (reach * np.sqrt(reach))
    total[scene.regions == POLE] *= 0.5  # rays graze what stands upright
    return total


def _mirror(radiance: Plane, scene: Scene, light: Light) -> None:
    """Replaces, in place, part of the light of water and wet asphalt by the sky and lamps they mirror."""
    cosine = 1 / np.sqrt(1 + scene.z**2)  # between the view and the upright, from a camera at height 1
    cosine += scene.normal[2] * 0.35
    np.clip(cosine, 0.05, 1, out=cosine)
    share = 0.02 + 0.98 * (1 - cosine) ** 5  # Schlick's fit of Fresnel's law for water
    film = light.wet * (0.25 + 0.75 * scene.hollow)
    share *= np.where(scene.regions == RIVER, 1, np.where(scene.regions == ASPHALT, film, 0))
    sky = _planes(light.sky) * (1 - scene.mirrored)
    if light.lamp.any():
        sky = sky + _planes(light.lamp) * (_glints(scene) * 9)
    radiance += (sky - radiance) * share


def _glints(scene: Scene) -> Plane:
    """Strength (H, W) of the lamps' images: streaks towards the camera, broken up by ripples."""
    total = np.zeros_like(scene.z)
    bearing = scene.x / scene.z
    for pole in scene.poles:
        if pole.lamp:
            aside = (bearing - pole.x / pole.z) * (18 / (1 + pole.radius))
            total += np.exp(-aside * aside) * (scene.z < pole.z) * np.clip(0.5 + scene.normal[2] * 2, 0, 2)
    return total


def _blur(planes: Plane, share: float) -> Plane:
    """Planes with `share` of each pixel's light given to either neighbour, across and then down."""
    for axis in (1, 2):
        place, last = np.arange(planes.shape[axis]), planes.shape[axis] - 1
        sides = planes.take(np.maximum(place - 1, 0), axis) + planes.take(np.minimum(place + 1, last), axis)
        planes = planes * (1 - 2 * share) + sides * share
    return planes


def _develop(signal: Plane) -> NDArray[np.uint8]:
    """sRGB (H, W, 3) uint8 of exposed light (3, H, W), whose highlights a shoulder keeps below white."""
    light = np.maximum(1 - np.exp(-1.1 * signal), 0)
    encoded = np.where(light > 0.0031308, 1.055 * light ** np.float32(1 / 2.4) - 0.055, 12.92 * light)
    return np.ascontiguousarray((encoded * 255 + 0.5).astype(np.uint8).transpose(1, 2, 0))
