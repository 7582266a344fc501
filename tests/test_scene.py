"""The generated riverside: what it promises about bits, labels, light and input."""

import re

import numpy as np
import pytest
from numpy.typing import NDArray

from hardmine.data.riverside.light import draw_light
from hardmine.data.riverside.photo import expose
from hardmine.data.riverside.place import lay_out
from hardmine.data.riverside.render import AREAS, TIMES, VOID, WEATHERS, render

SIZE = (96, 128)


def _draw(
    seed: int, size: tuple[int, int] = SIZE, time: str = "day", weather: str = "sunny"
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    return render(np.random.default_rng(seed), size, time, weather)


def _brightness(time: str, weather: str, seeds: range) -> NDArray[np.float64]:
    """Mean sRGB level of each area over some scenes."""
    pairs = [_draw(seed, time=time, weather=weather) for seed in seeds]
    images, regions = (np.stack(part) for part in zip(*pairs, strict=True))
    return np.array([images[regions == label].mean() for label in range(len(AREAS))])


@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize("weather", WEATHERS)
def test_same_seed_gives_same_bits(time: str, weather: str) -> None:
    first, second = _draw(5, time=time, weather=weather), _draw(5, time=time, weather=weather)
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])


def test_seeds_differ_in_image_and_geometry() -> None:
    pairs = [_draw(seed) for seed in range(6)]
    assert len({image.tobytes() for image, _ in pairs}) == 6
    assert len({regions.tobytes() for _, regions in pairs}) == 6


def test_one_seed_is_one_place_in_every_light() -> None:
    drawn = [_draw(3, time=time, weather=weather) for time in TIMES for weather in WEATHERS]
    assert len({regions.tobytes() for _, regions in drawn}) == 1
    assert len({image.tobytes() for image, _ in drawn}) == len(TIMES) * len(WEATHERS)


def test_lights_of_one_environment_differ() -> None:
    rng = np.random.default_rng(0)
    scene = lay_out(rng, SIZE)
    first, second = (expose(scene, draw_light(rng, "dusk", "sunny"), rng) for _ in range(2))
    assert np.abs(first.astype(int) - second).mean() > 1


@pytest.mark.parametrize("size", [SIZE, (192, 256), (97, 131), (32, 32), (33, 200), (150, 40)])
def test_shapes_dtypes_and_labels(size: tuple[int, int]) -> None:
    for seed in range(4):
        image, regions = _draw(seed, size, TIMES[seed], WEATHERS[seed % 3])
        assert image.shape == (*size, 3)
        assert image.dtype == np.uint8
        assert image.flags.c_contiguous
        assert regions.shape == size
        assert regions.dtype == np.uint8
        assert set(np.unique(regions)) <= {*range(len(AREAS)), VOID}


def test_nearly_every_scene_has_every_area_and_some_have_void() -> None:
    scenes = [lay_out(np.random.default_rng(seed), SIZE) for seed in range(60)]
    counts = np.array([np.bincount(scene.regions.ravel(), minlength=256) for scene in scenes])
    assert (counts[:, : len(AREAS)] >= 20).all(axis=1).mean() >= 0.95
    assert 0.05 < (counts[:, VOID] > 0).mean() < 0.5
    assert counts[:, VOID].max() < 0.15 * SIZE[0] * SIZE[1]
    assert {len(scene.poles) for scene in scenes} >= {1, 2, 3, 4}


def test_scene_planes_stay_in_range() -> None:
    for seed in range(10):
        scene = lay_out(np.random.default_rng(seed), SIZE)
        assert scene.albedo.dtype == np.float32
        assert scene.albedo.min() >= 0
        assert scene.albedo.max() <= 1
        for share in (scene.hollow, scene.mirrored):
            assert share.dtype == np.float32
            assert share.min() >= 0
            assert share.max() <= 1
        assert all(plane.dtype == np.float32 for plane in (scene.x, scene.z, scene.normal))


@pytest.mark.parametrize("weather", WEATHERS)
def test_every_area_darkens_from_day_to_dusk_to_night(weather: str) -> None:
    day, dusk, night = (_brightness(time, weather, range(12)) for time in ("day", "dusk", "night"))
    level = [AREAS.index(area) for area in ("grass", "asphalt", "river")]
    assert (dusk < 0.95 * day)[level].all()  # not poles: a low sun strikes them squarely
    assert (night < 0.6 * day).all()
    assert (night < 0.8 * dusk).all()


@pytest.mark.parametrize("weather", WEATHERS)
def test_day_is_bright_and_hardly_clipped(weather: str) -> None:
    images = np.stack([_draw(seed, time="day", weather=weather)[0] for seed in range(12)])
    assert 130 < images.mean() < 180
    assert (images >= 254).any(axis=-1).mean() < 0.02


def test_night_is_not_black() -> None:
    assert (_brightness("night", "sunny", range(12)) > 15).all()


def test_rain_darkens_asphalt_more_than_grass() -> None:
    dry, wet = (_brightness("day", weather, range(12)) for weather in ("cloudy", "rainy"))
    loss = wet / dry
    assert loss[AREAS.index("asphalt")] < loss[AREAS.index("grass")]


@pytest.mark.parametrize(
    ("size", "time", "weather", "quoted"),
    [
        (SIZE, "noon", "sunny", "'noon'"),
        (SIZE, "day", "snowy", "'snowy'"),
        ((31, 128), "day", "sunny", "(31, 128)"),
        ((96, 0), "day", "sunny", "(96, 0)"),
    ],
)
def test_bad_input_is_quoted(size: tuple[int, int], time: str, weather: str, quoted: str) -> None:
    with pytest.raises(ValueError, match=re.escape(quoted)):
        render(np.random.default_rng(0), size, time, weather)
