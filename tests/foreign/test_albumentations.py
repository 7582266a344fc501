"""albumentations: crops, flips and colours from a generator of its own, normalised floats, (image, mask)."""

from typing import Any

import albumentations as A
import pytest
from albumentations.pytorch import ToTensorV2
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

import hardmine
from foreign.conftest import AREAS, Segmenter, check_areas, loader, mine, pictures, watch

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
VIEW: dict[str, Any] = {"mean": MEAN, "std": STD}


class Photos(Dataset[tuple[Tensor, Tensor]]):
    def __init__(self, transform: A.Compose) -> None:
        image, labels = pictures(size=(40, 40))
        self.images, self.masks = image.permute(0, 2, 3, 1).contiguous().numpy(), labels.numpy()
        self.transform = transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        transformed = self.transform(image=self.images[index], mask=self.masks[index])
        return transformed["image"], transformed["mask"].long()


class PhotoDicts(Photos):
    """The same as dicts."""

    def __getitem__(self, index: int) -> dict[str, Tensor]:  # type: ignore[override]
        image, mask = super().__getitem__(index)
        return {"image": image, "mask": mask}


class DictSegmenter(Segmenter):
    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:  # type: ignore[override]
        return super().training_step((batch["image"], batch["mask"]), batch_idx)


def transform(seed: int | None = None) -> A.Compose:
    return A.Compose(
        [
            A.RandomCrop(height=32, width=32),
            A.HorizontalFlip(p=0.5),
            A.RandomBrightnessContrast(p=0.2),
            A.Normalize(mean=MEAN, std=STD),
            ToTensorV2(),
        ],
        seed=seed,
    )


def project(seed: int | None = None) -> tuple[Segmenter, DataLoader[Any]]:
    return Segmenter(), loader(Photos(transform(seed)))


def test_it_is_mined(store: hardmine.ParameterStore) -> None:
    mine(store, *project(), view=hardmine.View(**VIEW), areas=AREAS)


@pytest.mark.parametrize("dataset", [Photos, PhotoDicts])
def test_numbered_images_have_recipes(store: hardmine.ParameterStore, dataset: type[Photos]) -> None:
    """`Numbered` tells image and crop of each piece; of a tuple the numbers are gone before the project sees it."""
    module = DictSegmenter() if dataset is PhotoDicts else Segmenter()
    seen = watch(module)
    data = loader(hardmine.Numbered(dataset(transform())), shuffle=True)
    mining = mine(store, module, data, view=hardmine.View(**VIEW), areas=AREAS)
    recipe = mining.buffer.recipe
    assert recipe is not None
    assert bool(((recipe.source >= 0) & (recipe.source < 8)).all())
    assert len(set(recipe.draw.tolist())) > 1
    if dataset is Photos:
        assert all(len(batch) == 2 for batch in seen.batches)


def test_other_areas_stay(store: hardmine.ParameterStore) -> None:
    """With a seed its generator draws the same crops both times, unless mining asks the data set for more samples."""
    check_areas(store, lambda: project(seed=137), lambda batch: batch, view=hardmine.View(**VIEW), areas=AREAS)
