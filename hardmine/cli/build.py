"""The one place that wires the objects from the config."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch
from hydra.utils import get_class, instantiate
from omegaconf import OmegaConf
from torch import Tensor

from hardmine import kernels
from hardmine.cli import config_folder
from hardmine.cli.blocks import options
from hardmine.cli.networks import network
from hardmine.conversions import Chain, ColorTransfer, Conversion
from hardmine.conversions.chain import colors_alone
from hardmine.data import LabelledData
from hardmine.data.inventory import Inventory
from hardmine.data.labelled import LabelledImages
from hardmine.errors import InputError
from hardmine.judge import without_trace
from hardmine.judge.gates import Gate
from hardmine.mining import Mining
from hardmine.neighbourhood import Neighbourhood
from hardmine.plan import Mix
from hardmine.records import VOID
from hardmine.report.metric import direction_of
from hardmine.runs import RunFolder
from hardmine.scenes import Colors
from hardmine.store import ParameterStore
from hardmine.store.environment import EnvironmentTable
from hardmine.tasks.base import Task
from hardmine.tasks.losses import balanced
from hardmine.tasks.optimisation import Optimisation
from hardmine.tasks.weights import load_weights, look_at_kind
from hardmine.view import View

_log = logging.getLogger("hardmine")
_SCORED = {"masks": "segmentation", "classes": "classification", "boxes": "detection"}


def build_data(cfg: Any, **changes: Any) -> LabelledData:
    """The images, and what the config leaves to be filled in from them.

    Index images are predicted by another run's network where `data.regions=predicted`.
    """
    if cfg.data.get("regions") == "predicted":
        changes["predictor"] = build_predictor(cfg)
    data: LabelledData = instantiate(cfg.data, _convert_="all", **changes)
    cfg.classes = len(data.classes)
    if cfg.scoring.get("by_class", False) is None:
        cfg.scoring.by_class = _areas_are_classes(data)
    wanted = cfg.task["_target_"].rsplit(".", 1)[-1].removesuffix("Task").lower()
    if wanted != _SCORED[data.kind]:
        raise InputError(
            f"task={wanted} does not go with data whose labels are {data.kind}: take task={_SCORED[data.kind]} and a "
            "model and scoring that belong to it"
        )
    data.look()
    return data


def build_task(cfg: Any, data: LabelledData, trains: bool = False) -> Task:
    """Network and training step, with the weights of `ckpt` where one is given.

    Args:
        cfg: config of a command.
        data: that the task is for.
        trains: labels are counted where `task.class_weights` wants them balanced.
    """
    weights = _balanced(data) if trains and cfg.task.get("class_weights") == "balanced" else None
    task = task_of(
        cfg.task,
        net=network(cfg.model, filled=bool(cfg.ckpt or cfg.resume)),
        classes=data.classes,
        val_environments=data.split("val").environments if data.has("val") else (),
        test_environments=data.split("test").environments if data.has("test") else (),
        **({} if weights is None else {"class_weights": weights}),
    )
    if cfg.ckpt is not None:
        load_weights(task, cfg.ckpt)
    _try_out(cfg, data, task)
    return task


def task_of(settings: Any, **needed: Any) -> Task:
    """A task as its block of the config says, whose keys on how the weights are moved are one argument.

    Args:
        settings: the block; `class_weights` that are balanced are left to `needed`, as none but training counts labels.
        needed: arguments beside it.
    """
    given: dict[str, Any] = OmegaConf.to_container(settings, resolve=True)  # type: ignore[assignment]
    if given.get("class_weights") == "balanced":
        del given["class_weights"]
    names = {field.name for field in fields(Optimisation)} & given.keys()
    optimisation = Optimisation(**{name: given.pop(name) for name in names})
    task: Task = instantiate({**given, "_partial_": True})(**{"optimisation": optimisation, **needed})
    return task


def _balanced(data: LabelledData) -> list[float]:
    """Weights that make the classes of the images that are trained on count alike."""
    images, labels = data.training, max(256, len(data.classes))  # void is 255 in masks
    count = torch.zeros(labels, dtype=torch.int64)
    for index in range(len(images)):
        count += torch.bincount(torch.as_tensor(images[index]["target"]).flatten().long(), minlength=labels)
    weights = balanced(count[: len(data.classes)])
    told = ", ".join(f"{name} {weight:.3g}" for name, weight in zip(data.classes, weights, strict=True))
    _log.warning("hardmine: class weights: %s", told)
    return weights


def build_callbacks(cfg: Any, task: Task, data: LabelledData) -> dict[str, Any]:
    """The callbacks of the config by name, with the task's main figure in those that look at one and leave it open.

    What says how a run goes on comes last, and so knows what the others have made of a validation.

    Raises:
        InputError: a figure of validation that there will not be.
    """
    callbacks: dict[str, Any] = {}
    for name, settings in cfg.callbacks.items():
        filled = {}
        monitor = settings.get("monitor")
        if monitor == "auto":
            monitor = filled["monitor"] = f"val/{task.metric}"
        if monitor is not None:
            _look_at_figure(f"callbacks.{name}.monitor", monitor, task, data)
        if settings.get("mode") == "auto":
            try:
                filled["mode"] = direction_of(monitor)[:3]  # maximize or minimize
            except InputError:
                line = f"callbacks.{name}.mode: is {monitor} better large or small?: say max or min"
                raise InputError(line) from None
        callbacks[name] = instantiate(settings, **filled)
    last = callbacks.pop("checkpoint", None)
    return callbacks if last is None else {**callbacks, "checkpoint": last}


def _look_at_figure(key: str, monitor: str, task: Task, data: LabelledData) -> None:
    if not monitor.startswith("val/") or not type(task).__module__.startswith("hardmine."):
        return
    if not data.has("val"):
        raise InputError(
            f"{key}={monitor}: there are no images in the split val: set checkpoint=last and early_stopping=none"
        )
    if monitor not in (known := task.figures("val")):
        near = get_close_matches(monitor, known, 1)
        guess = f" (did you mean `{near[0]}`?)" if near else ""
        raise InputError(f"{key}={monitor}: validation has no such figure{guess}: it has {', '.join(known[:6])}, ...")


def main_split(data: LabelledData) -> str:
    """`train`, or what there is where nothing is trained."""
    return next(filter(data.has, ("train", "val", "test", "target")), "train")


def _try_out(cfg: Any, data: LabelledData, task: Task) -> None:
    """One image through network and scoring, so that parts which do not fit show now and in one line."""
    if data.kind == "boxes" and cfg.scoring.get("by_class") and not _areas_are_classes(data):
        raise InputError("scoring.by_class=true needs areas that are the boxes' classes: set scoring.by_class=false")
    batch = torch.utils.data.default_collate([data.split(main_split(data))[0]])
    batch = data.on_after_batch_transfer(batch, 0)
    height, width = batch["image"].shape[-2:]
    try:
        with without_trace(task):
            prediction = task(batch["image"])
    except Exception as error:
        why = shorten(" ".join(str(error).split()), 160)
        raise InputError(
            f"model: the network does not take images of {height} x {width} pixels ({why}): set another data.size, or "
            "take another model"
        ) from None
    fits = {"masks": 4, "classes": 2, "boxes": None}[data.kind]
    if fits != (prediction.ndim if isinstance(prediction, Tensor) else None):
        raise InputError(f"model: the network is not made for labels that are {data.kind}: take another model=")
    try:
        scoring, areas = instantiate(cfg.scoring), len(data.areas)
        scoring(prediction, batch, areas, torch.ones(1, areas + 1, dtype=torch.bool))
    except Exception as error:
        why = shorten(" ".join(str(error).split()), 80)
        raise InputError(
            f"scoring: it cannot score labels that are {data.kind} ({why}): take another scoring="
        ) from None


def build_conversion(cfg: Any, data: LabelledData) -> Conversion:
    """The conversion; where sources stay `individual`, it is told the colours of all images that are trained on."""
    kernels.take(cfg.get("kernel", "auto"))
    conversion: Conversion = instantiate(cfg.conversion, _convert_="all")
    for part in conversion.parts if isinstance(conversion, Chain) else (conversion,):
        if isinstance(part, ColorTransfer) and part.individual:
            splits = ("train", "target") if data.with_targets else (main_split(data),)
            part.compare_with(*(_measured(data.split(split), part.colors) for split in splits))
    return conversion


def _measured(images: LabelledImages, colors: Colors) -> ParameterStore:
    images.preload()

    def measured() -> Iterator[tuple[str, Tensor, Tensor, dict[str, str]]]:
        for index, name in enumerate(images.ids):
            yield name, *images.pixels(index), {}

    store = ParameterStore.from_images(measured(), images.areas, min_pixels=0, colors=colors)
    if not store.count[:, :-1].any():
        raise InputError(
            "data: no pixel of the images that are trained on lies in an area: look at the index images and the names "
            "of the areas"
        )
    return store


def build_store(cfg: Any, data: LabelledData, conversion: Conversion) -> ParameterStore:
    """Parameters read from a table, measured on the targets, or spread over the bounds where no colours are needed."""
    store = cfg.store
    if store.path is not None:
        return ParameterStore.load(store.path, store.min_pixels, store.missing, conversion.space).aligned(data.areas)
    if conversion.colors is None:
        return ParameterStore.from_space(conversion.space, data.areas, store.points)
    sources = store.get("sources", 0)  # only `targets` has it
    images, colors = data.targets(sources), conversion.colors
    measured = ParameterStore.from_images(images, data.areas, store.min_pixels, store.missing, colors)
    return measured.with_(**data.target_paths(sources))


def build_target_images(cfg: Any, data: LabelledData) -> dict[str, Tensor]:
    """Image (3, H, W) of each target by its id; none where the store was not measured on images."""
    if cfg.store.path is not None or not data.has("target"):
        return {}
    return {name: image for name, image, *_ in data.targets(cfg.store.get("sources", 0))}


def _areas_are_classes(data: LabelledData) -> bool:
    """Whether the areas are the boxes' classes and, last, the rest."""
    return data.areas[:-1] == data.classes


def build_gates(cfg: Any) -> list[Gate]:
    """What a hard candidate must pass as well."""
    return [instantiate(gate) for gate in cfg.gate.values()]


def mining_settings(cfg: Any) -> tuple[type[Mining], dict[str, Any]]:
    """What the block `mining` says: the class, and arguments of it."""
    settings: dict[str, Any] = OmegaConf.to_container(cfg.mining, resolve=True)  # type: ignore[assignment]
    kind = get_class(settings.pop("_target_"))
    mix = Mix(**{field.name: settings.pop(field.name) for field in fields(Mix) if field.name in settings})
    return kind, {**settings, "mix": mix}


def build_mining(cfg: Any, data: LabelledData) -> Mining | None:
    """The search; None where there is no neighbourhood, which is plain training on the same batches."""
    return None if cfg.neighbourhood["_target_"] is None else _mining(cfg, data, build_conversion(cfg, data))


def build_looking(cfg: Any, data: LabelledData) -> Mining:
    """What puts images into other light to be looked at: no search, no gates, and their frame stays as it is.

    A new frame would be another reason to fail.
    """
    if cfg.neighbourhood["_target_"] is None:  # of a run that mined nothing
        cfg.neighbourhood = OmegaConf.load(config_folder() / "neighbourhood/blend.yaml")
    cfg.gate = {}
    mining = _mining(cfg, data, colors_alone(build_conversion(cfg, data)))
    mining.searches = False
    return mining


def build_policies(cfg: Any) -> dict[str, Neighbourhood]:
    """Each neighbourhood that there is, by its name; that of the run with the keys that it has there."""
    policies: dict[str, Neighbourhood] = {}
    for name in options("neighbourhood"):
        block: Any = OmegaConf.load(config_folder() / f"neighbourhood/{name}.yaml")
        if block["_target_"] == cfg.neighbourhood["_target_"]:
            block = cfg.neighbourhood
        if block["_target_"] is not None:
            whole = OmegaConf.create({"environment": cfg.environment, "neighbourhood": block})
            policies[name] = instantiate(whole.neighbourhood, _convert_="all")
    return policies


def _mining(cfg: Any, data: LabelledData, conversion: Conversion) -> Mining:
    if data.kind == "boxes" and "scale" in conversion.space.names and not _areas_are_classes(data):
        raise InputError("conversion: it moves boxes by the area of their class, which needs data.regions=boxes")
    kind, settings = mining_settings(cfg)
    store = build_store(cfg, data, conversion)
    table: Any = OmegaConf.to_container(cfg.environment)
    if table["order"] or table["associations"]:  # what no policy reads may be misspelt all the same
        EnvironmentTable(store, **table)
    return kind(
        store,
        **settings,
        neighbourhood=instantiate(cfg.neighbourhood, _convert_="all"),
        first=instantiate(cfg.first, _convert_="all"),
        conversion=conversion,
        scoring=instantiate(cfg.scoring),
        gates=build_gates(cfg),
        seed=cfg.seed,
        view=View(
            image="image",
            label=None if data.kind == "boxes" else "target",
            regions="regions",
            ignore_index=VOID if data.kind == "masks" else None,  # 255 in the layout of folders
        ),
        areas=data.areas,
        update=instantiate(cfg["update"]),
        buffer=instantiate(cfg.buffer),
        stopping=instantiate(cfg.stopping),
    )


def build_inventory(cfg: Any, data: LabelledData, mining: Mining | None) -> Inventory:
    """What is trained and measured on; the colours of targets follow from their images, unless a store was given."""
    measured = mining is not None and cfg.store.path is None
    splits = ("train", "val", "test", *(["target"] if data.with_targets or measured else []))
    predictor = Path(cfg.predictor).expanduser() if cfg.data.get("regions") == "predicted" else None
    return Inventory.of(data, splits, None if mining is None or measured else mining.store, predictor)


def build_predictor(cfg: Any) -> Any:
    """A segmentation network of an earlier run, which tells the areas of images that have no index images."""
    from hardmine.tasks.predictor import AreaPredictor

    path = Path(cfg.predictor or "").expanduser()
    look_at_kind(path, "predictor")
    return AreaPredictor(build_frozen_task(path, "predictor", cfg.get("allow", []))[0])


def build_frozen_task(path: Path, key: str, allow: Sequence[str]) -> tuple[Task, Any]:
    """The network of an earlier run, from the config that it froze, and that config.

    Args:
        path: a checkpoint in the folder of the run.
        key: that names it.
        allow: see `RunFolder.config`.

    Raises:
        InputError: it lies in no such folder, or holds no weights of that network.
    """
    from hardmine.tasks.predictor import classes_of

    folder = RunFolder(path.parent.parent)
    if not folder.frozen.is_file():
        what = "a segmentation run" if key == "predictor" else "a run"
        raise InputError(
            f"{key}: {path} is no checkpoint in the folder of {what} ({folder.frozen} is missing): set "
            f"{key}=RUN_FOLDER/checkpoints/last.ckpt"
        )
    run = folder.config(allow)
    names = classes_of(path, key)
    run.classes = len(names)
    task = task_of(run.task, net=network(run.model, filled=True), classes=names)
    load_weights(task, path)
    return task, run
