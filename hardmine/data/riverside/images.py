"""`data=riverside`: generated scenes under time x weather light, no download (the patent's FIG. 3)."""

from typing import Unpack

import numpy as np
import torch

from hardmine.data.labelled import LabelledImages, Sample
from hardmine.data.module import LabelledData, Loading
from hardmine.data.riverside.render import AREAS, SMALLEST, render
from hardmine.errors import InputError
from hardmine.rng import key

# Environments of each split: a model is trained on day, and tested on light it has not been trained on.
_SOURCE = (("day", "sunny"), ("day", "cloudy"))
_SHIFTED = tuple((time, weather) for time in ("dusk", "night") for weather in ("sunny", "cloudy", "rainy"))
# targets hide among day scenes, as in a real store: nobody knows beforehand which environments are hard
_ENVIRONMENTS = {"train": _SOURCE, "val": _SOURCE, "target": (*_SOURCE, *_SHIFTED), "test": _SHIFTED}


class RiversideImages(LabelledImages):
    """Scenes of one split, rendered when first asked for; the same seed and number give the same bits."""

    def __init__(self, split: str, count: int, size: tuple[int, int], seed: int, flip: bool, cache_gib: float) -> None:
        pairs = [_ENVIRONMENTS[split][index % len(_ENVIRONMENTS[split])] for index in range(count)]
        super().__init__(
            ids=[f"{split}_{index:04d}" for index in range(count)],
            areas=AREAS,
            classes=AREAS,
            kind="masks",
            environment=[{"time": time, "weather": weather} for time, weather in pairs],
            flip=flip,
            cache_gib=cache_gib,
        )
        self.split, self.size, self.seed = split, size, seed

    def read(self, index: int) -> Sample:
        light = self.environment[index]
        rng = np.random.default_rng(key(self.seed, self.split, index))
        image, drawn = render(rng, self.size, light["time"], light["weather"])
        regions = torch.from_numpy(drawn)
        return {"image": torch.from_numpy(image).permute(2, 0, 1).contiguous(), "regions": regions, "target": regions}

    def said(self, index: int) -> str:
        return repr((self.seed, self.size, self.environment[index]))


class RiversideData(LabelledData):
    """Riverside scenes with four areas, which are also the classes: grass, pole, asphalt, river.

    Args:
        size: height and width.
        counts: scenes of each split.
        scene_seed: of the scenes.
        loading: see `LabelledData`; `cache_gib` is 1 without it.
    """

    def __init__(
        self,
        size: tuple[int, int] = (96, 128),
        counts: dict[str, int] | None = None,
        scene_seed: int = 0,
        **loading: Unpack[Loading],
    ) -> None:
        loading.setdefault("cache_gib", 1.0)  # scenes are made anew as quickly as files are read
        super().__init__(**loading)
        self.size, self.scene_seed = (int(size[0]), int(size[1])), scene_seed
        if min(self.size) < SMALLEST:
            raise InputError(f"`size` must be {SMALLEST} pixels or more of each side, got {list(self.size)}", "data")
        self.counts = {"train": 240, "val": 40, "target": 32, "test": 96, **(counts or {})}

    def has(self, split: str) -> bool:
        return self.counts.get(split, 0) > 0

    def images(self, split: str, flip: bool) -> LabelledImages:
        return RiversideImages(split, self.counts[split], self.size, self.scene_seed, flip, self.cache_gib)
