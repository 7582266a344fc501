"""Loading the rows of a recipe: each row's random augmentation is drawn again as it was."""

from collections.abc import Callable, Iterator
from typing import Any

from torch.utils.data import DataLoader, Dataset

from hardmine.errors import InputError
from hardmine.records import Recipe
from hardmine.rng import global_state_kept, seed_globally

Batch = dict[str, Any]


class Replayed(Dataset[Batch]):
    """A data set indexed by a recipe of B rows: each row's augmentation is replayed under the recipe's view."""

    def __init__(self, dataset: Dataset[Any], collate: Callable[[list[Any]], Any]) -> None:
        self.dataset, self.collate = dataset, collate

    def __getitem__(self, recipe: Recipe) -> Batch:
        samples = []
        with global_state_kept():
            for source, view in zip(recipe.source.tolist(), recipe.draw.tolist(), strict=True):
                seed_globally(view)
                samples.append(self.dataset[source])
        batch = self.collate(samples)
        if not isinstance(batch, dict) or not {"image", "regions"} <= batch.keys():
            raise InputError("the training data set must yield dicts with `image` and `regions`: wrap its samples")
        return batch


class ReplayLoader(DataLoader[Batch]):
    """Goes on in the middle of an epoch. Its place is the sampler's, kept with the miner; Lightning asks for these.

    `feed` stands between what was loaded and what is trained on.
    """

    feed: Callable[[Iterator[Batch]], Iterator[Batch]] | None = None

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        loaded = super().__iter__()
        return loaded if self.feed is None else self.feed(loaded)

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        pass
