"""The one place that wires the objects from the config."""

from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import OmegaConf

from hardmine.conversions import Conversion
from hardmine.data import LabelledData, MiningDataModule
from hardmine.errors import InputError
from hardmine.gates import Gate
from hardmine.store import ParameterStore
from hardmine.tasks.base import Task
from hardmine.tasks.weights import load_weights

_SCORED = {"masks": "segmentation", "classes": "classification", "boxes": "detection"}


def build_data(cfg: Any, **changes: Any) -> LabelledData:
    """The images; index images are predicted by another run's network where `data.regions=predicted`."""
    if cfg.data.get("regions") == "predicted":
        changes["predictor"] = _build_predictor(cfg)
    data: LabelledData = instantiate(cfg.data, _convert_="all", **changes)
    cfg.classes = len(data.classes)
    wanted = cfg.task["_target_"].rsplit(".", 1)[-1].removesuffix("Task").lower()
    if wanted != _SCORED[data.kind]:
        raise InputError(
            f"task={wanted} does not go with data whose labels are {data.kind}: take task={_SCORED[data.kind]} and a "
            "model and scoring that belong to it"
        )
    return data


def build_task(cfg: Any, data: LabelledData) -> Task:
    """Network and training step, with the weights of `ckpt` where one is given."""
    task: Task = instantiate(
        cfg.task,
        net=instantiate(cfg.model),
        classes=data.classes,
        val_environments=data.split("val").environments if data.has("val") else (),
        test_environments=data.split("test").environments if data.has("test") else (),
    )
    if cfg.ckpt is not None:
        load_weights(task, cfg.ckpt)
    return task


def build_store(cfg: Any, data: LabelledData, conversion: Conversion) -> ParameterStore:
    """Parameters read from a file, measured on the targets, or spread over the bounds where no colours are needed."""
    store = cfg.store
    if conversion.colors is None:
        return ParameterStore.from_space(conversion.space, data.areas, store.points)
    if store.path is not None:
        return ParameterStore.load(store.path, store.min_pixels, store.missing, conversion.space).aligned(data.areas)
    return ParameterStore.from_images(data.targets(), data.areas, store.min_pixels, store.missing, conversion.colors)


def build_gates(cfg: Any) -> list[Gate]:
    """What a hard candidate must pass as well."""
    return [instantiate(gate) for gate in cfg.gate.values()]


def build_mining(cfg: Any, data: LabelledData) -> MiningDataModule:
    """The data with mining around it; without a neighbourhood, plain training on the same batches."""
    mining = cfg.neighbourhood["_target_"] is not None
    conversion = instantiate(cfg.conversion, _convert_="all")
    return MiningDataModule(
        data,
        build_store(cfg, data, conversion) if mining else None,
        instantiate(cfg.neighbourhood, _convert_="all") if mining else None,
        areas=data.areas,
        first=instantiate(cfg.first, _convert_="all"),
        conversion=conversion,
        buffer=instantiate(cfg.buffer),
        update=instantiate(cfg["update"]),
        stopping=instantiate(cfg.stopping),
        mined=cfg.mining.mined,
        candidates=cfg.mining.candidates,
        start=cfg.mining.start,
        fresh_sources=cfg.mining.fresh_sources,
        seed=cfg.seed,
    )


def _build_predictor(cfg: Any) -> Any:
    """A segmentation network of an earlier run, which tells the areas of images that have no index images."""
    from hardmine.tasks.predictor import AreaPredictor, classes_of

    path = Path(cfg.predictor or "").expanduser()
    settings = path.parent.parent / ".hydra/config.yaml"
    if not settings.is_file():
        raise InputError(
            f"predictor: {path} is no checkpoint in the folder of a segmentation run ({settings} is missing): set "
            "predictor=RUN_FOLDER/checkpoints/last.ckpt"
        )
    run = OmegaConf.load(settings)
    names = classes_of(path)
    run.classes = len(names)
    task: Task = instantiate(run.task, net=instantiate(run.model), classes=names)
    load_weights(task, path)
    return AreaPredictor(task)
