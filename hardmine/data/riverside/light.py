"""The light of one photograph: sun, sky, lamps, air and the camera's setting."""

from dataclasses import dataclass

import numpy as np

from hardmine.data.riverside.camera import Plane

TIMES = ("morning", "day", "dusk", "night")
WEATHERS = ("sunny", "cloudy", "rainy")

# Per time: sun, its elevation in degrees from-to, sky, lamp, exposure, electrons.
_TIME = {
    "morning": ((0.90, 0.66, 0.40), (12, 26), (0.14, 0.18, 0.27), 0.0, 4.4, 6000),
    "day": ((1.00, 0.94, 0.84), (35, 65), (0.15, 0.22, 0.34), 0.0, 3.4, 12000),
    "dusk": ((0.62, 0.24, 0.07), (4, 11), (0.046, 0.060, 0.112), 0.04, 4.0, 2500),
    "night": ((0.008, 0.012, 0.022), (30, 60), (0.006, 0.0075, 0.014), 0.10, 4.4, 1000),
}
# Per weather: share of the sun that comes straight, share of it that clouds spread over the sky, share of the clear
# sky's light, haze, wet, blur. A low sun lights clouds as it lights the ground, by the sine of its elevation.
_WEATHER = {
    "sunny": (1.0, 0.03, 1.0, 0.012, 0.0, 0.06),
    "cloudy": (0.08, 0.45, 0.85, 0.018, 0.0, 0.06),
    "rainy": (0.0, 0.32, 0.70, 0.040, 0.85, 0.14),
}
_LAMP_COLOR = np.array([[1.0, 0.50, 0.12], [1.0, 0.62, 0.28], [0.9, 0.95, 0.85]], np.float32)  # sodium, warm, mercury


@dataclass(frozen=True)
class Light:
    """Light, air and camera setting of one photograph.

    Attributes:
        sun: (3,) float32, sun or moon on a card that faces it.
        to_sun: (3,) float32, unit vector.
        sky: (3,) float32, light of the whole sky on level ground, also the colour water mirrors.
        haze: extinction per camera height.
        airlight: (3,) float32, colour of far haze.
        lamp: (3,) float32, light at the foot of a lamp of unit height.
        wet: 0 dry, 1 wet all over.
        exposure: gain before the tone curve.
        electrons: electrons of a full pixel; fewer mean more shot noise.
        blur: share of its light a pixel takes from either neighbour, 0 to 1/3.
    """

    sun: Plane
    to_sun: Plane
    sky: Plane
    haze: float
    airlight: Plane
    lamp: Plane
    wet: float
    exposure: float
    electrons: float
    blur: float


def draw_light(rng: np.random.Generator, time: str, weather: str) -> Light:
    """Draws the light of one photograph; two of the same time and weather differ.

    Args:
        rng: source of randomness.
        time: one of `TIMES`.
        weather: one of `WEATHERS`.
    """
    sun_color, elevations, sky_color, lamp, exposure, electrons = _TIME[time]
    direct, spread, clear, haze, wet, blur = _WEATHER[weather]
    elevation, azimuth = np.radians(rng.uniform(*elevations)), rng.uniform(-2.0, 2.0)
    to_sun = np.array([np.sin(azimuth), np.tan(elevation), -np.cos(azimuth)]) * np.cos(elevation)
    tint = np.exp(rng.normal(0, 0.05, 3))  # white balance errs from picture to picture
    sun = np.array(sun_color) * tint * rng.uniform(0.8, 1.15)
    sky = (np.array(sky_color) * clear + sun * spread * max(0.12, np.sin(elevation))) * rng.uniform(0.85, 1.15)
    lamps = _LAMP_COLOR[rng.choice(3, p=(0.6, 0.25, 0.15))] * lamp * rng.uniform(0.5, 1.3)
    mist = rng.uniform(0.6, 1.6) + (rng.uniform(0, 3) if time == "morning" else 0)
    return Light(
        sun=(sun * direct).astype(np.float32),
        to_sun=to_sun.astype(np.float32),
        sky=sky.astype(np.float32),
        haze=float(haze * mist),
        airlight=(sky * 0.85 + sun * direct * 0.1 + lamps * 0.02).astype(np.float32),
        lamp=lamps.astype(np.float32),
        wet=float(wet * rng.uniform(0.7, 1.15)),
        exposure=float(exposure * (1.0 if direct > 0.5 else 1.5) * np.exp(rng.normal(0, 0.14))),
        electrons=float(electrons * rng.uniform(0.7, 1.4)),
        blur=float(blur * rng.uniform(0.7, 1.3)),
    )
