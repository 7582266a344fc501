"""Samples that carry their number and the seed of their augmentation, and come again bit for bit."""

import pickle
import random
from collections import UserDict, namedtuple
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, Subset, default_collate

from hardmine.errors import InputError
from hardmine.numbered import Numbered, NumberedTuple


def chance() -> list[float]:
    """One draw of each global generator."""
    return [random.random(), float(np.random.rand()), float(torch.rand(()))]  # noqa: NPY002


def as_dict(index: int) -> Any:
    return {"number": index, "chance": torch.tensor(chance(), dtype=torch.float64)}


def as_tuple(index: int) -> Any:
    return torch.tensor(chance(), dtype=torch.float64), index


def as_list(index: int) -> Any:
    return list(as_tuple(index))


class Samples(Dataset[Any]):
    """Five samples that a function makes."""

    def __init__(self, make: Callable[[int], Any]) -> None:
        self.make = make

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> Any:
        return self.make(index)


def numbers(sample: Any) -> tuple[int, int]:
    if isinstance(sample, NumberedTuple):
        return sample.index, sample.draw
    return int(sample["index"]), int(sample["draw"])


def drawn(sample: Any) -> list[float]:
    values: Tensor = sample[0] if isinstance(sample, NumberedTuple) else sample["chance"]
    return values.tolist()


# One sample


@pytest.mark.parametrize("make", [as_dict, as_tuple, as_list])
def test_the_same_two_numbers_give_the_same_bits(make: Callable[[int], Any]) -> None:
    numbered = Numbered(Samples(make))
    one = numbered[2]
    index, draw = numbers(one)
    assert index == 2 and 0 <= draw < 2**62
    chance()
    assert drawn(numbered[2, draw]) == drawn(one)
    assert numbers(numbered[2, draw]) == (2, draw)
    assert not set(drawn(numbered[2])) & set(drawn(one))
    assert drawn(numbered[2, 2**63 - 1]) != drawn(numbered[2, 2**62 - 1])


def test_a_sample_leaves_the_global_generators_as_they_were() -> None:
    numbered = Numbered(Samples(as_dict))
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002  # the global generator is what is looked at
    expected = chance()
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    numbered[3, 17]
    assert chance() == expected


def test_a_draw_is_torchs() -> None:
    numbered = Numbered(Samples(as_dict))
    torch.manual_seed(1)
    first = [numbers(numbered[0])[1] for _ in range(3)]
    torch.manual_seed(1)
    assert [numbers(numbered[0])[1] for _ in range(3)] == first
    assert len(set(first)) == 3


def test_numbers_are_int64_scalars_in_a_copy() -> None:
    kept = as_dict(0)
    sample = Numbered(Samples(lambda index: kept))[4, 9]
    assert kept.keys() == {"number", "chance"}
    assert sample["chance"] is kept["chance"]
    assert all(sample[name].dtype == torch.int64 and sample[name].shape == () for name in ("index", "draw"))


def test_other_mappings_keep_their_type() -> None:
    sample = Numbered(Samples(lambda index: UserDict(as_dict(index))))[4, 9]
    assert type(sample) is UserDict and numbers(sample) == (4, 9)


def test_numbers_of_its_own_stay_where_they_say_the_same() -> None:
    own = torch.tensor(3, dtype=torch.int32)
    assert Numbered(Samples(lambda index: {"index": own}))[3, 8]["index"] is own
    assert numbers(Numbered(Samples(lambda index: {"index": index}))[3, 8]) == (3, 8)


@pytest.mark.parametrize("value", [2, "3", torch.tensor([3, 3]), None])
@pytest.mark.parametrize("name", ["index", "draw"])
def test_other_numbers_of_its_own_are_refused(name: str, value: Any) -> None:
    with pytest.raises(InputError, match=f"samples have another '{name}' already: rename that key"):
        Numbered(Samples(lambda index: {name: value}))[3, 3]


@pytest.mark.parametrize("place", [-1, 4, np.int64(4), torch.tensor(4), torch.tensor(-1)])
def test_what_counts_as_a_number(place: Any) -> None:
    numbered = Numbered(Samples(as_dict))
    assert numbers(numbered[place])[0] == numbers(numbered[place, 5])[0] == 4
    assert numbered[place]["number"] == 4


@pytest.mark.parametrize("place", [5, -6, (5, 1)])
def test_numbers_that_no_sample_has(place: Any) -> None:
    with pytest.raises(IndexError):
        Numbered(Samples(as_dict))[place]
    assert len(list(Numbered(Samples(as_dict)))) == len(Numbered(Samples(as_dict))) == 5  # type: ignore[call-overload]


Pair = namedtuple("Pair", ["image", "label"])


@pytest.mark.parametrize("sample", [torch.zeros(3), 1.5, None, Pair(1, 2)])
def test_samples_that_cannot_carry_numbers(sample: Any) -> None:
    with pytest.raises(InputError, match=r"Numbered: a sample that is a \w+ cannot carry numbers: make it a") as caught:
        Numbered(Samples(lambda index: sample))[0]
    assert "\n" not in str(caught.value)


class Stream(IterableDataset[int]):
    def __iter__(self) -> Iterator[int]:
        yield 1


@pytest.mark.parametrize("dataset", [Stream(), iter([1]), {1}])
def test_data_sets_without_numbers(dataset: Any) -> None:
    with pytest.raises(InputError, match=r"Numbered: \w+ has no samples to ask for by number: give a map-style"):
        Numbered(dataset)


# Many of them


def test_tuples_are_collated_as_plain_ones() -> None:
    numbered = Numbered(Samples(as_tuple))
    plain = default_collate([tuple(numbered[place]) for place in ((0, 1), (3, 2))])
    made = default_collate([numbered[0, 1], numbered[3, 2]])
    assert type(made) is type(plain)
    assert all(map(torch.equal, made, plain))


def test_dicts_are_collated_with_their_numbers() -> None:
    numbered = Numbered(Samples(as_dict))
    batch = default_collate([numbered[0, 2**62], numbered[3, 7]])
    assert batch["index"].tolist() == [0, 3] and batch["draw"].tolist() == [2**62, 7]
    assert batch["draw"].dtype == torch.int64


def test_a_numbered_tuple_survives_pickling_and_what_libraries_do_with_tuples() -> None:
    sample = NumberedTuple((1, "a"), 3, 4)
    again = pickle.loads(pickle.dumps(sample))
    assert type(again) is NumberedTuple and again == (1, "a") and numbers(again) == (3, 4)
    moved = type(sample)([1, "b"])  # as Lightning moves a batch to the device
    assert moved == (1, "b") and not hasattr(moved, "draw")
    assert not hasattr(pickle.loads(pickle.dumps(moved)), "draw")


@pytest.mark.parametrize("make", [as_dict, as_tuple])
def test_spawned_workers_number_alike(make: Callable[[int], Any]) -> None:
    numbered = Numbered(Samples(make))
    places = [(0, 11), (4, 12), (2, 13)]
    loader: DataLoader[Any] = DataLoader(
        numbered, sampler=places, batch_size=3, num_workers=1, multiprocessing_context="spawn", collate_fn=list
    )
    (batch,) = loader
    assert [numbers(sample) for sample in batch] == places
    assert [drawn(sample) for sample in batch] == [drawn(numbered[place]) for place in places]


def test_workers_draw_different_seeds() -> None:
    loader: DataLoader[Any] = DataLoader(Numbered(Samples(as_dict)), batch_size=1, num_workers=2)
    draws = {int(batch["draw"]) for _ in range(2) for batch in loader}
    assert len(draws) == 10


# Generators of a library's own


class Jitter:
    """Draws from a generator of its own, as albumentations' transforms do."""

    def __init__(self) -> None:
        self.set_random_seed(0)

    def set_random_seed(self, seed: int) -> None:
        assert 0 <= seed < 2**32
        self.generator = random.Random(seed)

    def __call__(self) -> float:
        return self.generator.random()


class Jittered(Dataset[Any]):
    def __init__(self, name: str, value: Any, jitter: Jitter) -> None:
        self.jitter = jitter.__call__  # a method of it has no seed to set
        setattr(self, name, value)

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Any:
        return {"jitter": self.jitter()}


class Steps:
    def __init__(self, *transforms: Any) -> None:
        self.transforms = list(transforms)
        self.transforms.append(self)  # a circle is no trap


class Unnamed(Dataset[Any]):
    """A wrapper that keeps the data set under a name of its own."""

    def __init__(self, inner: Dataset[Any]) -> None:
        self.inner = inner

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> Any:
        return self.inner[index]


@pytest.mark.parametrize(
    "held",
    [
        lambda jitter: Jittered("own", jitter, jitter),
        lambda jitter: Jittered("transform", Steps(str, Steps(jitter)), jitter),
        lambda jitter: Jittered("transforms", {"train": [jitter]}, jitter),
        lambda jitter: Subset(Jittered("own", jitter, jitter), [0, 1, 2]),
        lambda jitter: Subset(Subset(Jittered("own", jitter, jitter), [0, 1, 2]), [1]),
        lambda jitter: ConcatDataset([Jittered("own", jitter, jitter)]),
        lambda jitter: Unnamed(Jittered("own", jitter, jitter)),
    ],
)
def test_generators_of_ones_own_are_seeded(held: Callable[[Jitter], Dataset[Any]]) -> None:
    numbered = Numbered(held(Jitter()))
    one = numbered[0]
    numbered[0]
    assert numbered[0, int(one["draw"])]["jitter"] == one["jitter"] != numbered[0]["jitter"]


class Photos(Dataset[Any]):
    """(image, mask) or a dict, through a transform of albumentations."""

    def __init__(self, transform: Any) -> None:
        self.transform = transform
        self.image = np.arange(40 * 40 * 3, dtype=np.uint8).reshape(40, 40, 3)

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> Any:
        made = self.transform(image=self.image, mask=self.image[..., 0])
        return torch.from_numpy(made["image"]), torch.from_numpy(made["mask"])


@pytest.mark.parametrize("seed", [None, 137])
def test_albumentations_are_replayed(seed: int | None) -> None:
    albumentations = pytest.importorskip("albumentations")
    compose = albumentations.Compose
    steps = [
        albumentations.RandomCrop(height=32, width=32),
        albumentations.OneOf([albumentations.HorizontalFlip(p=1), albumentations.RandomBrightnessContrast(p=1)], p=0.8),
        compose([albumentations.GaussNoise(p=0.7)]),
    ]
    numbered = Numbered(Subset(Photos(compose(steps, seed=seed)), [2, 0]))
    first = [numbered[index % 2] for index in range(8)]
    assert len({sample[0].numpy().tobytes() for sample in first}) > 4
    loader: DataLoader[Any] = DataLoader(
        numbered, sampler=[numbers(sample) for sample in first], batch_size=8, num_workers=1, collate_fn=list
    )
    (again,) = loader
    for one, two in zip(first, again, strict=True):
        assert all(map(torch.equal, one, two))
