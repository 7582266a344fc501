"""Recognition accuracy (R22, R23): values by hand, and an independent implementation beside the vectorised one."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from hardmine.judge.scoring import ClassRate, Confidence, CorrectRate, PixelRate, Reliability, Scoring
from hardmine.judge.scoring.pixel_rate import recognised

NAN = float("nan")


def logits_of(predicted: list[Any], classes: int) -> Tensor:
    return torch.nn.functional.one_hot(torch.tensor(predicted), classes).movedim(-1, 1).float()


def none_chosen(n: int, areas: int) -> Tensor:
    return torch.zeros(n, areas + 1, dtype=torch.bool)


def masks(target: list[Any], regions: list[Any]) -> dict[str, Tensor]:
    return {"target": torch.tensor(target), "regions": torch.tensor(regions, dtype=torch.uint8)}


def same(got: Tensor, wanted: list[Any]) -> bool:
    assert got.dtype == torch.float32
    return torch.allclose(got, torch.tensor(wanted, dtype=torch.float32), equal_nan=True)


# 2 x 4 pixels; area 0 on the left, area 1 on the right, one void target, one void region with a labelled pixel
TARGET = [[[0, 0, 1, 1], [0, 255, 1, 0]]]
REGIONS = [[[0, 0, 1, 1], [0, 0, 1, 255]]]
PREDICTED = [[[0, 1, 1, 1], [0, 0, 0, 0]]]  # right: T F T T / T - F T


class TestPixelRate:
    def test_by_hand(self) -> None:
        score, area = PixelRate()(logits_of(PREDICTED, 2), masks(TARGET, REGIONS), 2, none_chosen(1, 2))
        assert same(score, [5 / 7])
        assert same(area, [[2 / 3, 2 / 3, 5 / 7]])

    def test_nothing_labelled(self) -> None:
        batch = masks([[[255, 255]]], [[[0, 1]]])
        score, area = PixelRate()(logits_of([[[0, 1]]], 2), batch, 2, none_chosen(1, 2))
        assert score.isnan().all() and area.isnan().all()

    def test_an_absent_area_scores_nan(self) -> None:
        score, area = PixelRate()(logits_of([[[0]]], 2), masks([[[0]]], [[[0]]]), 3, none_chosen(1, 3))
        assert same(score, [1.0])
        assert same(area, [[1.0, NAN, NAN, 1.0]])

    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    def test_of_equal_logits_the_first_class_is_recognised(self, dtype: torch.dtype) -> None:
        logits = torch.zeros(4, 3, 8, 8, dtype=dtype)
        for target, right in ((0, 1.0), (1, 0.0), (2, 0.0)):
            batch = masks([[[target] * 8] * 8] * 4, [[[0] * 8] * 8] * 4)
            assert same(PixelRate()(logits, batch, 1, none_chosen(4, 1))[0], [right] * 4)
        coarse = torch.randint(3, (2, 5, 16, 16), generator=torch.Generator().manual_seed(0)).to(dtype)
        batch = {"target": coarse.argmax(1), "regions": torch.zeros(2, 16, 16, dtype=torch.uint8)}
        assert same(PixelRate()(coarse, batch, 1, none_chosen(2, 1))[0], [1.0, 1.0])

    @pytest.mark.parametrize("classes", [1, 2, 255, 256])
    def test_the_recognised_class_is_that_of_argmax(self, classes: int) -> None:
        logits = torch.randint(9, (2, classes, 8, 8), generator=torch.Generator().manual_seed(classes)).float() - 9
        logits[0, -1, 0] = torch.inf
        logits[0, 0, 1] = -torch.inf
        assert torch.equal(recognised(logits).long(), logits.argmax(1))
        logits[1, 0, 0, 0] = torch.nan
        assert int(recognised(logits)[1, 0, 0]) == classes  # no class

    def test_areas_need_not_be_classes(self) -> None:
        batch = masks([[[1, 1], [0, 0]]], [[[0, 1], [0, 1]]])
        _, area = PixelRate()(logits_of([[[1, 1], [1, 1]]], 2), batch, 2, none_chosen(1, 2))
        assert same(area, [[0.5, 0.5, 0.5]])

    @pytest.mark.parametrize(
        ("chosen", "score"),
        [
            ([True, False, False], 2 / 3),
            ([True, True, False], 4 / 6),  # the void region is in no area
            ([False, False, True], 5 / 7),
            ([True, False, True], 5 / 7),  # the whole image after an area
            ([False, False, False], NAN),
        ],
    )
    def test_converted_areas_only(self, chosen: list[bool], score: float) -> None:
        rate = PixelRate(converted=True)
        got, area = rate(logits_of(PREDICTED, 2), masks(TARGET, REGIONS), 2, torch.tensor([chosen]))
        assert same(got, [score])
        assert same(area, [[2 / 3, 2 / 3, 5 / 7]])  # of every area, converted or not

    def test_what_lies_elsewhere_does_not_move_it(self) -> None:
        generator = torch.Generator().manual_seed(0)
        target = torch.randint(0, 3, (2, 8, 8), generator=generator)
        regions = torch.randint(0, 3, (2, 8, 8), generator=generator).byte()
        chosen = torch.tensor([[False, True, False, False]] * 2)
        one, other = (torch.rand(2, 3, 8, 8, generator=generator) for _ in range(2))
        other = torch.where((regions == 1)[:, None], one, other)
        batch = {"target": target, "regions": regions}
        for scoring in (PixelRate(converted=True), ClassRate(converted=True), ClassRate(worst=True, converted=True)):
            assert torch.equal(scoring(one, batch, 3, chosen)[0], scoring(other, batch, 3, chosen)[0])
            assert not torch.equal(scoring(one, batch, 3, ~chosen)[0], scoring(other, batch, 3, ~chosen)[0])


class TestClassRate:
    def test_by_hand(self) -> None:
        """Class 0: 3 of 4 (right, wrong, right, right); class 1: 2 of 3; class 2 is nowhere."""
        arguments = (logits_of(PREDICTED, 3), masks(TARGET, REGIONS), 2, none_chosen(1, 2))
        score, area = ClassRate()(*arguments)
        assert same(score, [(3 / 4 + 2 / 3) / 2])
        assert same(area, PixelRate()(*arguments)[1].tolist())
        assert same(ClassRate(worst=True)(*arguments)[0], [2 / 3])

    def test_a_small_class_counts_as_much_as_a_large_one(self) -> None:
        target = torch.zeros(1, 10, 10, dtype=torch.long)
        target[0, 0, 0] = 1
        batch = {"target": target, "regions": target.byte()}
        always_zero = logits_of(torch.zeros(1, 10, 10, dtype=torch.long).tolist(), 2)
        assert same(PixelRate()(always_zero, batch, 2, none_chosen(1, 2))[0], [0.99])
        assert same(ClassRate()(always_zero, batch, 2, none_chosen(1, 2))[0], [0.5])
        assert same(ClassRate(worst=True)(always_zero, batch, 2, none_chosen(1, 2))[0], [0.0])

    @pytest.mark.parametrize("worst", [False, True])
    def test_nothing_labelled(self, worst: bool) -> None:
        batch = masks([[[255, 255]]], [[[0, 1]]])
        score, _ = ClassRate(worst)(logits_of([[[0, 1]]], 2), batch, 2, none_chosen(1, 2))
        assert score.isnan().all()

    @pytest.mark.parametrize(
        ("chosen", "score"),
        [
            ([False, True, False], 2 / 3),  # class 1: 2 of 3; class 0 does not occur there
            ([True, True, False], (2 / 3 + 2 / 3) / 2),
            ([False, False, True], (3 / 4 + 2 / 3) / 2),  # the whole image, with what is in no area
            ([False, False, False], NAN),
        ],
    )
    def test_converted_areas_only(self, chosen: list[bool], score: float) -> None:
        arguments = (logits_of(PREDICTED, 2), masks(TARGET, REGIONS), 2, torch.tensor([chosen]))
        assert same(ClassRate(converted=True)(*arguments)[0], [score])


class TestConfidence:
    def test_by_hand(self) -> None:
        """softmax of (log 3, 0) is (3/4, 1/4)."""
        logits = torch.tensor([[3.0, 1.0], [3.0, 1.0]]).log().bfloat16().float()
        batch = masks([0, 1], [[[0, 2]], [[1, 255]]])
        score, area = Confidence()(logits, batch, 3, none_chosen(2, 3))
        assert torch.allclose(score, torch.tensor([0.75, 0.25]), atol=2e-3)
        assert area.isnan().tolist() == [[False, True, False, False], [True, False, True, False]]
        assert torch.equal(area[0, [0, 2, 3]], score[[0, 0, 0]])

    def test_half_precision_logits_give_float32(self) -> None:
        score, area = Confidence()(torch.zeros(1, 4).bfloat16(), masks([2], [[[0]]]), 1, none_chosen(1, 1))
        assert same(score, [0.25]) and same(area, [[0.25, 0.25]])


def found(*rows: tuple[list[float], float, int]) -> dict[str, Tensor]:
    """Detections of one image: box, confidence, class."""
    return {
        "boxes": torch.tensor([box for box, _, _ in rows]).reshape(-1, 4),
        "scores": torch.tensor([score for _, score, _ in rows]),
        "labels": torch.tensor([label for _, _, label in rows], dtype=torch.long),
    }


def labelled(*images: list[tuple[list[float], int]], regions: list[int] | None = None) -> dict[str, Tensor]:
    """Padded objects; areas 0, 1 for two classes and 2 for the rest, all there unless `regions` says otherwise."""
    most = max(1, *(len(image) for image in images)) + 1
    boxes, labels = torch.zeros(len(images), most, 4), torch.full((len(images), most), -1)
    for index, image in enumerate(images):
        for place, (box, label) in enumerate(image):
            boxes[index, place], labels[index, place] = torch.tensor(box), label
    there = torch.tensor([[regions or [0, 1, 2]]] * len(images), dtype=torch.uint8)
    return {"boxes": boxes, "labels": labels, "regions": there}


LEFT, RIGHT = [0.0, 0.0, 10.0, 10.0], [20.0, 0.0, 30.0, 10.0]
HALF = [0.0, 0.0, 10.0, 5.0]  # IoU 1/2 with LEFT
THIRD = [0.0, 0.0, 10.0, 3.0]  # IoU 3/10 with LEFT
CHOSEN = none_chosen(1, 3)


class TestReliability:
    def test_the_most_confident_overlapping_detection_of_the_class(self) -> None:
        batch = labelled([(LEFT, 0), (RIGHT, 1)])
        prediction = [
            found((LEFT, 0.6, 0), (HALF, 0.8, 0), (THIRD, 0.9, 0), (LEFT, 0.95, 1), (RIGHT, 0.5, 1), (RIGHT, 0.7, 0))
        ]
        score, area = Reliability()(prediction, batch, 3, CHOSEN)
        assert same(score, [(0.8 + 0.5) / 2])  # 0.8 overlaps just enough, 0.9 too little, 0.95 is of another class
        assert same(area, [[0.8, 0.5, 0.65, 0.65]])

    def test_a_missed_object_counts_zero(self) -> None:
        score, area = Reliability()([found((LEFT, 0.8, 0))], labelled([(LEFT, 0), (RIGHT, 1)]), 3, CHOSEN)
        assert same(score, [0.4])
        assert same(area, [[0.8, 0.0, 0.4, 0.4]])

    def test_a_class_without_object_scores_nan(self) -> None:
        _, area = Reliability()([found((LEFT, 0.8, 0))], labelled([(LEFT, 0)]), 3, CHOSEN)
        assert same(area, [[0.8, NAN, 0.8, 0.8]])

    def test_other_areas_have_the_images_score(self) -> None:
        batch = labelled([(LEFT, 0), (RIGHT, 1)], regions=[2, 0, 255])
        score, area = Reliability(by_class=False)([found((LEFT, 0.8, 0))], batch, 3, CHOSEN)
        assert same(score, [0.4])
        assert same(area, [[0.4, NAN, 0.4, 0.4]])  # no pixel is in area 1


@pytest.mark.parametrize(
    "scoring",
    [Reliability(), CorrectRate(), Reliability(by_class=False)],
    ids=["reliability", "correct rate", "reliability of images"],
)
class TestObjects:
    def test_perfect_is_one(self, scoring: Scoring) -> None:
        batch = labelled([(LEFT, 0), (RIGHT, 1)], [(RIGHT, 0)])
        prediction = [found((RIGHT, 1.0, 1), (LEFT, 1.0, 0)), found((RIGHT, 1.0, 0))]
        score, area = scoring(prediction, batch, 3, none_chosen(2, 3))
        assert same(score, [1.0, 1.0])
        assert same(area.nan_to_num(1), [[1.0] * 4] * 2)

    def test_nothing_detected_is_zero(self, scoring: Scoring) -> None:
        score, _ = scoring([found(), found()], labelled([(LEFT, 0)], [(RIGHT, 1)]), 3, none_chosen(2, 3))
        assert same(score, [0.0, 0.0])

    def test_no_object_is_nan(self, scoring: Scoring) -> None:
        score, area = scoring([found((LEFT, 0.9, 0)), found()], labelled([], []), 3, none_chosen(2, 3))
        assert score.isnan().all() and area.isnan().all()
        nothing = {"boxes": torch.zeros(1, 0, 4), "labels": torch.zeros(1, 0, dtype=torch.long)}
        score, area = scoring([found((LEFT, 0.9, 0))], {**labelled([]), **nothing}, 3, CHOSEN)
        assert score.isnan().all() and area.isnan().all()

    def test_padding_and_boxes_without_extent_never_count(self, scoring: Scoring) -> None:
        line = [3.0, 3.0, 3.0, 9.0]
        prediction = [found((LEFT, 1.0, 0), ([0.0] * 4, 0.9, 0))]
        plain, padded = labelled([(LEFT, 0)]), labelled([(LEFT, 0), (line, 0), (LEFT, -1), ([0.0] * 4, 1)])
        one, other = scoring(prediction, plain, 3, CHOSEN), scoring(prediction, padded, 3, CHOSEN)
        assert same(one[0], [1.0]) and same(other[0], [1.0])
        assert torch.equal(one[1].nan_to_num(-1), other[1].nan_to_num(-1))

    def test_it_carries_no_gradient(self, scoring: Scoring) -> None:
        prediction = [{**found((LEFT, 0.9, 0)), "scores": torch.tensor([0.9], requires_grad=True)}]
        assert not scoring(prediction, labelled([(LEFT, 0)]), 3, CHOSEN)[0].requires_grad


class TestCorrectRate:
    @pytest.mark.parametrize(
        ("box", "confidence", "label", "right"),
        [
            (LEFT, 0.5, 0, True),
            (LEFT, 0.49, 0, False),
            (HALF, 0.9, 0, True),
            (THIRD, 0.9, 0, False),
            (LEFT, 0.9, 1, False),
        ],
    )
    def test_recognised(self, box: list[float], confidence: float, label: int, right: bool) -> None:
        score, _ = CorrectRate()([found((box, confidence, label))], labelled([(LEFT, 0)]), 3, CHOSEN)
        assert same(score, [float(right)])

    def test_one_detection_counts_for_one_object(self) -> None:
        """Two people behind each other, found once."""
        near = [0.0, 0.0, 10.0, 9.0]
        batch = labelled([(LEFT, 0), (near, 0)])
        once, twice = [found((LEFT, 0.9, 0))], [found((LEFT, 0.9, 0), (LEFT, 0.8, 0))]
        assert same(CorrectRate()(once, batch, 3, CHOSEN)[0], [0.5])
        assert same(CorrectRate()(twice, batch, 3, CHOSEN)[0], [1.0])
        assert same(Reliability()(once, batch, 3, CHOSEN)[0], [0.9])  # which asks for each object alone

    def test_the_more_confident_chooses_first(self) -> None:
        """HALF fits only LEFT, which the confident one takes: the other object is left unrecognised."""
        far = [0.0, 5.0, 10.0, 15.0]  # IoU 1/3 with LEFT
        between = [0.0, 2.0, 10.0, 12.0]  # IoU 2/3 with LEFT, 7/13 with far
        batch = labelled([(LEFT, 0), (far, 0)])
        assert same(CorrectRate()([found((HALF, 0.6, 0), (between, 0.9, 0))], batch, 3, CHOSEN)[0], [0.5])
        assert same(CorrectRate()([found((HALF, 0.9, 0), (between, 0.6, 0))], batch, 3, CHOSEN)[0], [1.0])

    @pytest.mark.parametrize("seed", range(20))
    def test_against_matching_one_by_one(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        images, prediction, wanted = [], [], []
        for _ in range(4):
            objects = [(_box(rng), int(rng.integers(2))) for _ in range(rng.integers(0, 8))]
            hits = [(_near(box, rng), float(rng.random()), label) for box, label in objects for _ in range(2)]
            wrong = [(_box(rng), float(rng.random()), int(rng.integers(2))) for _ in range(3)]
            detections = [*hits, *wrong]
            images.append([(box.tolist(), label) for box, label in objects])
            prediction.append(found(*((box.tolist(), score, label) for box, score, label in detections)))
            wanted.append(_one_by_one(objects, detections, iou=0.4, confidence=0.3))
        score, area = CorrectRate(iou=0.4, score=0.3)(prediction, labelled(*images), 3, none_chosen(4, 3))
        assert same(score, [np.mean(right) if right else NAN for right in wanted])
        for label in range(2):
            of_class = [
                [hit for hit, (_, its) in zip(right, image, strict=True) if its == label]
                for right, image in zip(wanted, images, strict=True)
            ]
            assert same(area[:, label], [np.mean(right) if right else NAN for right in of_class])


Box = NDArray[np.float64]


def _box(rng: np.random.Generator) -> Box:
    corner = rng.uniform(0, 30, 2)
    return np.concatenate([corner, corner + rng.uniform(5, 20, 2)])


def _near(box: Box, rng: np.random.Generator) -> Box:
    return box + rng.uniform(-2, 2, 4)


def _iou(a: Box, b: Box) -> float:
    width, height = (max(0.0, min(a[2 + i], b[2 + i]) - max(a[i], b[i])) for i in (0, 1))
    area_a, area_b = ((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    return float(width * height / (area_a + area_b - width * height))


def _one_by_one(
    objects: list[tuple[Box, int]], detections: list[tuple[Box, float, int]], iou: float, confidence: float
) -> list[bool]:
    """The definition, in plain loops."""
    taken = [False] * len(objects)
    for box, score, label in sorted(detections, key=lambda item: -item[1]):
        able = [
            (_iou(box, truth), index)
            for index, (truth, its) in enumerate(objects)
            if its == label and not taken[index] and _iou(box, truth) >= iou
        ]
        if score >= confidence and able:
            taken[max(able)[1]] = True
    return taken
