"""The tasks: what they learn from, what they measure, what they keep."""

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.error import URLError

import lightning as L
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchmetrics.classification import MulticlassJaccardIndex
from torchvision.models.detection import FCOS

from hardmine.errors import InputError
from hardmine.report.prediction import draw_prediction, paint
from hardmine.report.table import Name, environment_table
from hardmine.tasks import ClassificationTask, DetectionTask, SegmentationTask, Task
from hardmine.tasks.detectors import fcos
from hardmine.tasks.metrics import (
    BalancedAccuracy,
    ClassAccuracy,
    MeanAveragePrecision50,
    PerClass,
    PerEnvironment,
)
from hardmine.tasks.optimisation import Optimisation

CLASSES = ("sky", "road", "tree")
SIZE = (40, 56)  # no multiples of 32


class Rows(Dataset[dict[str, Tensor]]):
    """Two images of each of two environments: noise with labels of every kind; one has no object."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(index)
        return {
            "image": torch.rand(3, *SIZE, generator=generator),
            "mask": torch.randint(0, 3, SIZE, generator=generator).masked_fill(torch.arange(SIZE[1]) < 5, 255),
            "target": torch.tensor(index % 3),
            # an object, one without width, padding
            "boxes": torch.tensor([[4.0, 5.0, 30.0, 25.0], [9.0, 3.0, 9.0, 20.0], [0.0, 0.0, 0.0, 0.0]]),
            "labels": torch.tensor([index % 3, 1, -1] if index else [-1, -1, -1]),
            "environment": torch.tensor(index // 2),
        }


class Masks(Rows):
    def __getitem__(self, index: int) -> dict[str, Tensor]:
        row = super().__getitem__(index)
        return {**row, "target": row["mask"]}


def pixelwise() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 3, 1))


def pooled() -> nn.Module:
    return nn.Sequential(pixelwise(), nn.AdaptiveAvgPool2d(1), nn.Flatten())


MAKERS: dict[str, tuple[type[Task], Any, type[Rows]]] = {
    "segmentation": (SegmentationTask, pixelwise, Masks),
    "classification": (ClassificationTask, pooled, Rows),
    "fcos": (DetectionTask, partial(fcos, 3, channels=32, convolutions=1), Rows),
}


def make(kind: str, classes: tuple[str, ...] = CLASSES) -> tuple[Any, DataLoader[dict[str, Tensor]]]:
    torch.manual_seed(0)
    task, net, rows = MAKERS[kind]
    module = task(net(), classes, ["day", "night"], ["day", "night"])  # type: ignore[call-arg, arg-type]
    return module, DataLoader(rows(), batch_size=4)


def trainer_of(**settings: Any) -> L.Trainer:
    return L.Trainer(
        **{
            "accelerator": "cpu",
            "max_steps": 2,
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            **settings,
        }
    )


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("kind", MAKERS)
class TestTraining:
    def test_two_steps_and_what_is_measured(self, kind: str, precision: str) -> None:
        task, loader = make(kind)
        before = [parameter.detach().clone() for parameter in task.parameters()]
        trainer = trainer_of(precision=precision)
        trainer.fit(task, loader, loader)
        assert trainer.global_step == 2
        logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
        assert np.isfinite(logged["loss"])
        assert any(not torch.equal(a, b) for a, b in zip(before, task.parameters(), strict=True))
        assert all(parameter.dtype == torch.float32 for parameter in task.parameters())
        tested = trainer.test(task, loader, verbose=False)[0]
        for split, values in (("val", logged), ("test", tested)):
            for name in ("", "/day", "/night"):
                assert 0 <= values[f"{split}/{task.metric}{name}"] <= 1
        assert ("test/accuracy" in tested) == (kind == "classification")

    def test_the_prediction(self, kind: str, precision: str) -> None:
        task, loader = make(kind)
        task.eval()
        image = next(iter(loader))["image"]
        state = torch.get_rng_state()
        enabled = precision == "bf16-mixed"
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            prediction = task(image)
        assert torch.equal(torch.get_rng_state(), state)  # scoring must leave no trace
        if isinstance(prediction, Tensor):
            assert prediction.shape == ((4, 3, *SIZE) if kind == "segmentation" else (4, 3))
            return
        assert len(prediction) == 4
        for image in prediction:
            assert image["boxes"].dtype == image["scores"].dtype == torch.float32  # 8 bits are no coordinates
            assert image["boxes"].shape == (len(image["scores"]), 4)
            assert ((image["labels"] >= 0) & (image["labels"] < 3)).all()


@pytest.mark.parametrize(("kind", "name"), [("segmentation", "iou"), ("classification", "class_accuracy")])
def test_each_class_is_measured_and_stays_out_of_the_table(kind: str, name: str) -> None:
    task, loader = make(kind)
    trainer = trainer_of()
    tested = trainer.test(task, loader, verbose=False)[0]
    parts = [tested[f"test/{name}/{one}"] for one in CLASSES]
    assert not any(key.startswith(f"test/{name}/") and key.rsplit("/", 1)[1] not in CLASSES for key in tested)
    assert np.mean(parts) == pytest.approx(tested[f"test/{task.metric}"])  # all three classes occur
    table = environment_table(tested, tested, task.metric)
    assert [cell.text for cell in table.columns[1].cells if isinstance(cell, Name)] == ["day", "night", "all"]


@pytest.mark.parametrize("kind", MAKERS)
def test_evaluating_gives_what_is_logged_and_leaves_no_count(kind: str) -> None:
    task, loader = make(kind)
    wanted = trainer_of().test(task, loader, verbose=False)[0]
    task.eval()
    with torch.inference_mode():  # as Lightning has it
        task._count("test", next(iter(loader)))  # left over from a test that was stopped
    with torch.no_grad():
        assert task.evaluate("test", loader) == wanted
        assert task.evaluate("test", []) == {}


@pytest.mark.parametrize("kind", MAKERS)
def test_the_loss_is_what_is_trained_on_and_has_a_value_in_eval_mode(kind: str) -> None:
    task, loader = make(kind)
    logged = []
    task.log = lambda name, value, **_: logged.append((name, float(value)))
    batch = next(iter(loader))
    torch.manual_seed(0)
    trained = task.training_step(batch, 0).detach()
    torch.manual_seed(0)
    assert torch.equal(task.loss(batch).detach(), trained)
    assert logged == [("loss", float(trained))]
    task.eval()
    state = {name: value.clone() for name, value in task.state_dict().items()}
    assert task.loss(batch).requires_grad
    assert not any(module.training for module in task.modules())
    assert all(torch.equal(value, state[name]) for name, value in task.state_dict().items())


def test_a_task_must_say_what_it_learns() -> None:
    task = Task(pixelwise(), CLASSES, {"accuracy": partial(BalancedAccuracy, 3)}, [], [], Optimisation(), False)
    with pytest.raises(TypeError, match="Task must say what is learned"):
        task.training_step({"image": torch.zeros(1, 3, 4, 4)}, 0)


@pytest.mark.parametrize("kind", MAKERS)
def test_a_checkpoint_knows_its_classes(kind: str, tmp_path: Path) -> None:
    task, loader = make(kind)
    trainer = trainer_of(max_steps=1, limit_val_batches=0)
    trainer.fit(task, loader, loader)
    path = tmp_path / "last.ckpt"
    trainer.save_checkpoint(path)
    assert torch.load(path, weights_only=True)["classes"] == list(CLASSES)
    assert trainer_of().test(make(kind)[0], loader, ckpt_path=str(path), weights_only=True, verbose=False)
    other, _ = make(kind, ("sky", "tree", "road"))
    with pytest.raises(InputError, match="sky, road, tree, but the data has sky, tree, road"):
        trainer_of().test(other, loader, ckpt_path=str(path), weights_only=True, verbose=False)


def test_names_and_not_a_number_of_classes() -> None:
    with pytest.raises(InputError, match="names of the classes"):
        SegmentationTask(pixelwise(), "sky")


def test_a_detector_learns_from_images_without_objects() -> None:
    task, loader = make("fcos")
    batch = next(iter(loader))
    batch["labels"] = torch.full_like(batch["labels"], -1)
    task.log = lambda *_, **__: None
    loss = task.training_step(batch, 0)
    loss.backward()
    assert loss.isfinite() and all(p.grad is None or p.grad.isfinite().all() for p in task.parameters())


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small layers gain nothing from a second thread, and on a busy machine wait for it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_a_detector_overfits_one_image() -> None:
    """Classes count from 0 on both sides, boxes are not resized: a bright box of class 2 and a dark one of class 0."""
    torch.manual_seed(0)
    task = DetectionTask(fcos(3, channels=64), CLASSES, optimisation=Optimisation(lr=2e-3))
    task.log = lambda *_, **__: None  # type: ignore[method-assign]
    image = torch.full((1, 3, 64, 64), 0.5)
    image[0, :, 8:40, 6:28], image[0, :, 30:52, 36:60] = 1.0, 0.0
    boxes = torch.tensor([[[6.0, 8.0, 28.0, 40.0], [36.0, 30.0, 60.0, 52.0]]])
    batch = {"image": image, "boxes": boxes, "labels": torch.tensor([[2, 0]])}
    optimizer = task.configure_optimizers()
    for _ in range(25):
        optimizer.zero_grad()
        task.training_step(batch, 0).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    task.eval()
    for module in task.modules():  # so few steps do not settle the running statistics
        module.train(isinstance(module, nn.BatchNorm2d))
    with torch.no_grad():
        (found,) = task(image)
    assert set(found["labels"][:2].tolist()) == {0, 2}
    for label, box in ((2, boxes[0, 0]), (0, boxes[0, 1])):
        best = found["boxes"][found["labels"] == label][0]
        assert (best - box).abs().max() < 8


def test_boxes_that_have_shrunk_to_nothing_can_grow_again() -> None:
    """torchvision's ReLU has no gradient there: training stayed where no box had a size, in two seeds of four."""
    net: Any = fcos(3, channels=32, convolutions=1).train()
    sides = net.head.regression_head.bbox_reg
    nn.init.constant_(sides.bias, -5.0)
    target = {"boxes": torch.tensor([[8.0, 8.0, 40.0, 40.0]]), "labels": torch.tensor([0])}
    net([torch.rand(3, 128, 128)], [target])["bbox_regression"].backward()
    assert (sides.bias.grad < 0).all()  # a step of descent makes all four distances longer


def test_pretrained_weights_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: Any, **__: Any) -> None:
        raise URLError("no network")

    monkeypatch.setattr("hardmine.tasks.detectors.get_model", offline)
    with pytest.raises(InputError, match=r"weights_backbone=DEFAULT: cannot be downloaded \(no network\)"):
        fcos(3, weights_backbone="DEFAULT")


def test_coordinates_are_never_bfloat16() -> None:
    """Its steps are 2 pixels wide beyond 256."""
    net = fcos(3, channels=32)
    assert isinstance(net, FCOS)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        features = list(net.backbone(torch.rand(1, 3, 64, 128)).values())
        given = net.head(features)
    assert features[0].dtype == torch.bfloat16
    assert all(value.dtype == torch.float32 for value in given.values())


class TestMetrics:
    @pytest.mark.parametrize("seed", range(5))
    def test_balanced_accuracy_is_the_mean_recall_of_what_occurs(self, seed: int) -> None:
        """As scikit-learn's balanced_accuracy_score: classes that were predicted and do not occur are left out."""
        rng = np.random.default_rng(seed)
        truth, said = rng.integers(0, 3, 40), rng.integers(0, 5, 40)
        metric = BalancedAccuracy(5)
        for part in (slice(0, 15), slice(15, 40)):
            metric.update(torch.from_numpy(said[part]), torch.from_numpy(truth[part]))
        wanted = np.mean([np.mean(said[truth == label] == label) for label in np.unique(truth)])
        assert float(metric.compute()) == pytest.approx(wanted)

    def test_mean_average_precision_by_hand(self) -> None:
        """Class 0: found, after a false alarm (AP 1/2); class 1: missed (0); class 2: found (1); class 3: absent."""
        box, away = [0.0, 0.0, 10.0, 10.0], [50.0, 50.0, 60.0, 60.0]
        found = {
            "boxes": torch.tensor([away, box, box]),
            "scores": torch.tensor([0.9, 0.8, 0.7]),
            "labels": torch.tensor([0, 0, 2]),
        }
        truth = {"boxes": torch.tensor([box, box, box]), "labels": torch.tensor([0, 1, 2])}
        metric = MeanAveragePrecision50()
        metric.update([found], [truth])
        assert float(metric.compute()) == pytest.approx(0.5)

    @pytest.mark.parametrize(("objects", "detections", "wanted"), [(0, 0, None), (0, 1, None), (1, 0, 0.0)])
    def test_nothing_to_detect_or_nothing_detected(self, objects: int, detections: int, wanted: float | None) -> None:
        box = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
        zero = torch.zeros(1, dtype=torch.long)
        metric = MeanAveragePrecision50()
        metric.update(
            [{"boxes": box[:detections], "scores": torch.ones(detections), "labels": zero[:detections]}],
            [{"boxes": box[:objects], "labels": zero[:objects]}],
        )
        value = float(metric.compute())
        assert np.isnan(value) if wanted is None else value == wanted

    def test_environments_are_measured_apart(self) -> None:
        measure = PerEnvironment(partial(BalancedAccuracy, 2), ["day", "night", "fog"])
        measure.update(torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1]), torch.tensor([0, 1, 0]))
        values = {name: float(value) for name, value in measure.compute().items()}
        assert values == {"": 0.75, "day": 1.0, "night": 0.0}  # there was no fog
        measure.reset()
        assert measure.compute() == {}
        alone = PerEnvironment(partial(BalancedAccuracy, 2), ["all"])  # nothing is told of the images
        alone.update(torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1]), torch.tensor([0, 0, 0]))
        assert {name: float(value) for name, value in alone.compute().items()} == {"": 0.75}

    def test_a_class_that_does_not_occur_has_no_value(self) -> None:
        measure = PerClass(partial(ClassAccuracy, 3), ["sky", "road", "tree"])
        assert measure.compute() == {}
        measure.update(torch.tensor([0, 2, 0]), torch.tensor([0, 0, 0]), torch.tensor([0, 0, 1]))
        values = measure.compute()
        assert float(values["sky"]) == pytest.approx(2 / 3)
        assert values["road"].isnan() and values["tree"].isnan()  # trees were seen where there are none
        task, loader = make("segmentation")
        task.forward = lambda image: nn.functional.one_hot(torch.zeros(len(image), *SIZE).long(), 3).permute(0, 3, 1, 2)
        batch = next(iter(loader))
        found = task.evaluate("test", [{**batch, "target": torch.zeros_like(batch["target"])}])
        assert found["test/iou/sky"] == 1 and np.isnan(found["test/iou/tree"])

    def test_ranks_that_met_different_environments(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The value of one process that saw all, on both ranks, for counts and for lists of boxes."""
        box = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
        right = [True, False, True, True, True]
        environment = torch.tensor([0, 0, 1, 1, 0])
        zero = torch.zeros(1, dtype=torch.long)
        found = [{"boxes": box + 50 * (not hit), "scores": torch.ones(1), "labels": zero} for hit in right]
        truth = [{"boxes": box, "labels": zero} for _ in right]
        said, meant = torch.tensor(right).logical_not().long(), torch.zeros(5, dtype=torch.long)
        for factory, prediction, target in (
            (MeanAveragePrecision50, found, truth),
            (partial(BalancedAccuracy, 2), said, meant),
            (partial(MulticlassJaccardIndex, 2), said, meant),
        ):
            whole, *ranks = (PerEnvironment(factory, ["day", "night", "fog"]) for _ in range(3))
            whole.update(prediction, target, environment)
            wanted = whole.compute()
            assert set(wanted) == {"", "day", "night"} and 0 < wanted["day"] < wanted["night"]
            for rank, rows in zip(ranks, (slice(0, 2), slice(2, 5)), strict=True):
                rank.update(prediction[rows], target[rows], environment[rows])
            exchange = Exchange()
            with monkeypatch.context() as patch:
                patch.setattr("torch.distributed.is_initialized", lambda: True)
                patch.setattr("torch.distributed.get_world_size", lambda: 2)
                patch.setattr("torch.distributed.all_gather_object", exchange)
                for rank in ranks:
                    rank.compute()
                assert [rank.compute() for rank in ranks] == [wanted, wanted]

    def test_ranks_that_met_different_classes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        said, meant, nowhere = torch.tensor([0, 0, 1]), torch.tensor([0, 1, 1]), torch.zeros(3, dtype=torch.long)
        whole, *ranks = (PerClass(partial(ClassAccuracy, 3), CLASSES) for _ in range(4))
        whole.update(said, meant, nowhere)
        for rank, rows in zip(ranks, (slice(0, 1), slice(1, 3)), strict=False):  # the third has nothing to count
            rank.update(said[rows], meant[rows], nowhere[rows])
        exchange = Exchange(3)
        with monkeypatch.context() as patch:
            patch.setattr("torch.distributed.is_initialized", lambda: True)
            patch.setattr("torch.distributed.get_world_size", lambda: 3)
            patch.setattr("torch.distributed.all_gather_object", exchange)
            for rank in ranks:
                rank.compute()
            for rank in ranks:
                values = rank.compute()
                assert [float(values[name]) for name in CLASSES[:2]] == [1.0, 0.5]
                assert values["tree"].isnan()


class Exchange:
    """What ranks hand each other, known once each has called."""

    def __init__(self, ranks: int = 2) -> None:
        self.sent: list[Any] = []
        self.ranks = ranks

    def __call__(self, received: list[Any], mine: Any) -> None:
        if len(self.sent) < self.ranks:
            self.sent.append(mine)
        received[:] = self.sent


class TestPictures:
    image = np.full((64, 96, 3), 100, np.uint8)

    def test_masks_are_painted(self) -> None:
        logits = nn.functional.one_hot(torch.tensor([[0, 1], [2, 0]]), 3).permute(2, 0, 1)[None].float()
        picture = draw_prediction(logits, 0, self.image[:2, :2], CLASSES)
        assert np.array_equal(picture, paint(torch.tensor([[0, 1], [2, 0]])))
        larger = draw_prediction(logits, 0, self.image[:6, :6], CLASSES, scale=3)
        assert np.array_equal(larger, picture.repeat(3, 0).repeat(3, 1))

    def test_labels_have_colours_of_their_own_and_void_none(self) -> None:
        colours = paint(torch.arange(60)[None])[0]
        assert len(np.unique(colours, axis=0)) == 60 and colours.any(1).all()
        assert not paint(torch.tensor([[255]])).any()

    def test_a_class_is_written(self) -> None:
        logits = torch.tensor([[0.0, 0.0, 9.0], [9.0, 0.0, 0.0]])
        first, second = (draw_prediction(logits, row, self.image, CLASSES) for row in range(2))
        assert first.shape == self.image.shape and first.dtype == np.uint8
        assert not np.array_equal(first, second)
        assert np.array_equal(first[40:], self.image[40:])  # the image stays to be seen
        assert (self.image == 100).all()

    def test_boxes_that_are_sure_enough_are_drawn(self) -> None:
        box = torch.tensor([[30.0, 20.0, 60.0, 50.0]])
        for score, drawn in ((0.9, True), (0.1, False)):
            found = {"boxes": box, "scores": torch.tensor([score]), "labels": torch.tensor([2])}
            picture = draw_prediction([found], 0, self.image, ())
            assert picture.shape == self.image.shape
            assert (picture[50, 45] != 100).any() == drawn
            larger = draw_prediction([found], 0, self.image.repeat(2, 0).repeat(2, 1), (), scale=2)
            assert (larger[100, 90] != 100).any() == drawn and (larger[50, 30] == 100).all()
        assert (self.image == 100).all()


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")
def test_two_ranks_with_unequal_environments_do_not_wait_for_each_other(tmp_path: Path) -> None:
    task, _ = make("fcos")
    trainer = trainer_of(devices=2, strategy="ddp_fork", use_distributed_sampler=False)
    trainer.test(task, DataLoader(Halves(), batch_size=4), verbose=False)
    assert 0 <= float(trainer.callback_metrics["test/map50/night"]) <= 1


class Halves(Rows):
    """The first rank sees days alone, the second nights alone."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        rank = torch.distributed.get_rank() if torch.distributed.is_initialized() else 0
        return {**super().__getitem__(2 * rank + index), "environment": torch.tensor(rank)}


def test_a_fused_optimiser_makes_nearly_the_same_steps() -> None:
    def trained(fused: bool) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        task = SegmentationTask(nn.Conv2d(3, 3, 3, padding=1), CLASSES, optimisation=Optimisation(lr=1e-2))
        task.fused = fused
        optimizer = task.configure_optimizers()
        assert optimizer.defaults["fused"] is fused
        for _ in range(3):
            optimizer.zero_grad()
            task(torch.linspace(0, 1, 192).view(1, 3, 8, 8)).square().mean().backward()
            optimizer.step()
        return {name: value.detach() for name, value in task.named_parameters()}

    plain, fused = trained(False), trained(True)
    assert all(torch.allclose(plain[name], fused[name], atol=1e-6) for name in plain)
