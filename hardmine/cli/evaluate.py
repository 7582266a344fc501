"""`hardmine evaluate`: where a model fails, measured and in other light; nothing is trained."""

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hardmine.arguments import look_at_number
from hardmine.cli.config import tell_unused
from hardmine.cli.lent import run_with_model
from hardmine.errors import InputError
from hardmine.names import did_you_mean

if TYPE_CHECKING:
    from torch import Tensor

    from hardmine.whatif import WhatIf

PLAN = "plan.json"  # what an evaluation that was stopped goes on by
# keys that an evaluation has no use for
_UNUSED = (
    *("update", "callbacks", "checkpoint", "early_stopping", "logger", "neighbourhood", "first", "gate", "buffer"),
    *("stopping", "mining", "resume"),
)
_SPLITS = ("train", "val", "target", "test")
_ANY = "any"  # area
_SHOWN = 12  # environments, those with the lowest accuracy
_HARDEST = 20  # images


def command(arguments: list[str]) -> None:
    """Evaluate the model of `ckpt`; settings of the run it stands in hold, where not given anew."""
    run_with_model("evaluate", arguments, {"ckpt": "a checkpoint or a state dict"}, PLAN, evaluate)


def evaluate(cfg: Any) -> None:
    """Measure every split, put images into other light, show and write what came of it."""
    import torch

    from hardmine.cli.build import build_data, build_task
    from hardmine.cli.mine import autocasting
    from hardmine.cli.train import quieten
    from hardmine.machine import Machine
    from hardmine.report.evaluation import Evaluation

    quieten()
    started, out = time.perf_counter(), Path(cfg.out)
    if cfg.fail_under is not None:
        look_at_number("fail_under", cfg.fail_under, 0, 1, "a recognition accuracy")
    if "targets" in cfg.data:
        cfg.data.targets = 0.0  # nothing is trained on them
    data = build_data(cfg, flip=False)
    task = build_task(cfg, data)
    look_at_fail_area(cfg.fail_area, data.areas)
    tell_unused("evaluate trains nothing and searches for nothing", _UNUSED)
    device = torch.device("cuda" if torch.cuda.is_available() and cfg.trainer.accelerator != "cpu" else "cpu")
    task.to(device)
    machine, autocast = Machine.here(device), autocasting(cfg, device)
    light = _Light(cfg, data, task, autocast) if cfg.store.path is not None or data.has("target") else None
    if light is None and cfg.fail_under is not None:
        raise InputError("fail_under: no store has other light to compare with: set store=file store.path=FILE")
    measured, areas, classes = _splits(cfg, data, task, autocast)
    found, hardest = (None, []) if light is None else light.look()
    about = {
        "version": machine.hardmine,
        "ckpt": str(cfg.ckpt),
        "data": str(cfg.data.get("root", cfg.data["_target_"].rsplit(".", 1)[-1])),
        **{name: getattr(machine, name) for name in ("began", "python", "torch", "device")},
        **({} if light is None else light.about),
        "seconds": round(time.perf_counter() - started, 1),
    }
    evaluation = Evaluation(about, task.metric, measured, classes, areas, found, hardest)
    evaluation.write(out)
    _show(evaluation, out, cfg)


def _show(evaluation: Any, out: Path, cfg: Any) -> None:
    from rich.console import Console

    from hardmine.cli.report import report_of
    from hardmine.report.table import print_table

    console, light = Console(), evaluation.what_if
    for table in evaluation.tables():
        print_table(console, table)
        console.print()
    for line in evaluation.lines():
        console.print(line, soft_wrap=True, markup=False)
    report_of(out, cfg.report)
    console.print(f"evaluation: {out} ({evaluation.about['seconds']:.0f} s)", soft_wrap=True, markup=False)
    if light is None or cfg.fail_under is None:
        return
    passed, line = gate(light, cfg.fail_under, cfg.fail_area)
    console.print(line, soft_wrap=True, markup=False)
    if not passed:
        raise SystemExit(1)


def look_at_fail_area(area: str, areas: Sequence[str]) -> None:
    """See that `fail_area` says what `fail_under` looks at.

    Raises:
        InputError: it is no area of the data.
    """
    from hardmine.audits import IMAGE

    choices = (IMAGE, _ANY, *areas)
    if area not in choices:
        raise InputError(
            f"fail_area: {area!r:.60} is no area of the data: take one of {', '.join(choices)}"
            + did_you_mean(area, choices)
        )


def gate(light: "WhatIf", lowest: float, area: str) -> tuple[bool, str]:
    """Whether a model is recognised well enough in all environments, and a line that says what was looked at.

    Args:
        light: what became of images in other light.
        lowest: accuracy in [0, 1] that passes.
        area: `image`, `any`, or the name of an area.
    """
    from hardmine.audits import IMAGE

    worst = light.worst  # environment and area
    if area == _ANY:
        (environment, name), what = worst, "an area"
    else:
        environment, name, what = light.worst_of(area), area, "whole images" if area == IMAGE else area
    value = light.at(light.accuracy, environment, name)
    passed = value >= lowest  # NaN fails
    where = f"{name} in {environment}" if area == _ANY else environment
    line = (
        f"fail_under={lowest:g} {'passed' if passed else 'failed'}: the lowest recognition accuracy of {what} in an "
        f"environment is {value:.3f} ({where})"
    )
    if area == IMAGE:
        of_area = light.at(light.accuracy, *worst)
        line += f"; areas were not looked at: the lowest is {of_area:.3f} ({worst[1]} in {worst[0]}), see fail_area"
    if unknown := light.unscored(None if area == _ANY else area):
        line += f"; nothing could be scored in {', '.join(unknown)}"
    return passed, line


def hardest(means: "Tensor") -> "Tensor":
    """Which images a model recognises worst, the worst first; none of those in which nothing can be scored.

    Args:
        means: (S,) recognition accuracy of each image; NaN where nothing could be scored.
    """
    known = (~means.isnan()).nonzero().flatten()
    return known[means[known].argsort()][:_HARDEST]


def _splits(cfg: Any, data: Any, task: Any, autocast: Any) -> tuple[dict[str, float], dict[str, Any], str | None]:
    """Metrics of every split by their names, accuracy of each area in each environment, and the metric of classes."""
    import torch
    from hydra.utils import instantiate

    from hardmine.audits import IMAGE
    from hardmine.judge import without_trace
    from hardmine.tasks.metrics import PerClass, PerEnvironment

    scoring, names = instantiate(cfg.scoring), [*data.areas, IMAGE]
    device = next(task.parameters()).device
    measured: dict[str, float] = {}
    accuracy: dict[str, Any] = {}
    own = {key.split("/", 1)[1]: measure for key, measure in task.measures.items() if key.startswith("val/")}
    for split in filter(data.has, _SPLITS):
        images = data.split(split)
        images.preload()
        measures = {name: measure.anew(images.environments).to(device) for name, measure in own.items()}
        total, count = torch.zeros(2, len(images.environments), len(names), dtype=torch.float64)
        for numbers in _shown(range(0, len(images), data.batch_size), f"measuring {split}"):
            rows = range(numbers, min(numbers + data.batch_size, len(images)))
            batch = data.on_after_batch_transfer(_loaded([images[row] for row in rows], device), 0)
            with without_trace(task), autocast():
                prediction, truth = task.measured(batch)
                for measure in measures.values():
                    measure.update(prediction, truth, batch["environment"])
                chosen = torch.ones(len(rows), len(names), dtype=torch.bool, device=device)
                score, of_areas = scoring(task(batch["image"]), batch, len(data.areas), chosen)
            values = torch.cat([of_areas[:, :-1], score[:, None]], dim=1).double().cpu()
            total.index_add_(0, batch["environment"].cpu(), values.nan_to_num())
            count.index_add_(0, batch["environment"].cpu(), (~values.isnan()).double())
        for name, measure in measures.items():
            for part, value in measure.compute().items():
                whole = part == PerEnvironment.ALL
                measured[f"{split}/{name}" if whole else f"{split}/{name}/{part}"] = float(value)
        means = {"all": total.sum(0) / count.sum(0)}
        if images.environments != ("all",):
            means = {**dict(zip(images.environments, total / count, strict=True)), **means}
        accuracy[split] = {name: dict(zip(names, mean.tolist(), strict=True)) for name, mean in means.items()}
    return measured, accuracy, next((name for name, each in own.items() if isinstance(each, PerClass)), None)


def _loaded(samples: list[Any], device: Any) -> dict[str, Any]:
    import torch

    return {name: value.to(device) for name, value in torch.utils.data.default_collate(samples).items()}


def _shown(rows: Any, what: str) -> Iterator[Any]:
    """With a progress bar where there is a terminal."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    yield from track(rows, what, len(rows), console=console, disable=not console.is_terminal, transient=True)


class _Light:
    """The images of a split, put into every environment of the store.

    Args:
        cfg: of the evaluation.
        data, task: as they were built, the task on its device.
        autocast: as the task is trained.
    """

    def __init__(self, cfg: Any, data: Any, task: Any, autocast: Any) -> None:
        from hardmine.audits import Audit
        from hardmine.cli.build import build_looking
        from hardmine.memory.ledger import Ledger

        split = cfg.source or next(filter(data.has, ("val", "test", "train")), "target")
        if split not in _SPLITS or not data.has(split):
            there = ", ".join(filter(data.has, _SPLITS))
            raise InputError(f"source: the data has no images in the split {split!r:.60}: take one of {there}")
        look_at_number("rows", cfg.rows, 1, float("inf"), "candidates", whole=True)
        look_at_number("pictures", cfg.pictures, 0, float("inf"), "candidates", whole=True)
        self.cfg, self.data, self.task, self.autocast = cfg, data, task, autocast
        self.images = data.split(split)
        mining = build_looking(cfg, data)
        self.mining, self.ledger = mining, Ledger(Path(cfg.out) / "ledger")
        mining.read(self._load([0]))  # tells what the images are
        self.audit = Audit(mining, len(self.images), cfg.budget, cfg.seed, cfg.environment.order)
        self.about = {
            "source": split,
            "images": len(self.audit.images),
            "of": len(self.images),
            "targets": len(mining.store),
            "candidates": self.audit.candidates,
            "budget": cfg.budget,
            "seed": cfg.seed,
        }

    def look(self) -> tuple[Any, list[Any]]:
        """To the end, from where an earlier call was stopped: the `WhatIf`, and the hardest images."""
        import torch

        from hardmine.cli.album import PageAlbum
        from hardmine.report.graph import write_graph

        per = max(1, 8 * self.cfg.rows // (1 + self.audit.targets.shape[1]))
        parts = torch.split(self.audit.images, per)
        begun = self._begun()
        for step in _shown(range(begun, len(parts)), "putting images into other light"):
            self.mining.step = step  # parts, as the ledger counts them
            scenes = self.mining.read(self._load(parts[step].tolist()))
            for tries, verdict in self.audit.judged(
                self.task, parts[step], scenes, self.autocast, self._hooks, self.cfg.rows
            ):
                self.ledger.append(tries, verdict)
            self.ledger.flush()
        tries, verdict = self.ledger.verdicts()
        table = self.audit.table(tries, verdict, self.cfg.seed)
        write_graph(Path(self.cfg.out), self.mining.store, self.audit.graph(tries, verdict))
        clean = (tries.target < 0).all(1)
        of = self.audit.cell[tries.target.amax(1).clamp(min=0).long()].masked_fill(clean, -1)
        self._pictures(table, tries, verdict.score, of)
        album = PageAlbum(self.cfg, self.data, self.images, self.mining, self.ledger.folder, self.autocast)
        album.look(self.task, "prediction", next(self.task.parameters()).device)
        album.write(Path(self.cfg.out))
        means = torch.stack([verdict.score[~clean & (tries.source == image)].nanmean() for image in self.audit.images])
        images = self.audit.images[hardest(means)].tolist()
        return table, [self._hard(image, tries, verdict.score, of) for image in images]

    def _begun(self) -> int:
        """Parts that are done already.

        Raises:
            InputError: of another evaluation.
        """
        from omegaconf import OmegaConf

        from hardmine.files import read_json, write_atomically

        path = Path(self.cfg.out) / PLAN
        said = {**self.about, "store": self.mining.store.mark, "rows": self.cfg.rows}
        said["weights"] = hashlib.blake2b(Path(self.cfg.ckpt).expanduser().read_bytes(), digest_size=16).hexdigest()
        said["ids"] = hashlib.blake2b(repr(self.images.ids).encode(), digest_size=16).hexdigest()
        said["settings"] = OmegaConf.to_yaml({name: self.cfg[name] for name in ("data", "conversion", "scoring")})
        if path.exists() and read_json(path) != said:
            raise InputError(f"{path.parent}: holds the beginning of another evaluation: set out= to another folder")
        text = json.dumps(said, indent=2) + "\n"
        write_atomically(path, lambda file: file.write(text.encode()))
        done = self.ledger.read()
        return 1 + max(done["step"].to_pylist()) if len(done) else 0

    def _load(self, numbers: list[int]) -> dict[str, Any]:
        from hardmine.numbered import Numbered

        numbered = Numbered(self.images)
        return _loaded([numbered[number, 0] for number in numbers], next(self.task.parameters()).device)

    def _hooks(self, batch: Any) -> Any:
        return self.data.on_after_batch_transfer(batch, 0)

    def _hard(self, image: int, tries: Any, score: Any, of: Any) -> Any:
        from hardmine.report.evaluation import Hard

        mine, clean = tries.source == image, of < 0
        here, where = score[mine & ~clean], of[mine & ~clean]
        lowest = int(here.nan_to_num(2).argmin())
        return Hard(
            self.images.ids[image],
            float(here.nanmean()),
            float(score[mine & clean].nanmean()),
            self.audit.environments[int(where[lowest])],
            float(here[lowest]),
        )

    def _pictures(self, table: Any, tries: Any, score: Any, of: Any) -> None:
        """`hardest.png`, and a sheet for each of the environments in which accuracy is lowest."""
        from dataclasses import replace

        import torch

        from hardmine.cli.build import build_target_images
        from hardmine.report.picture import write_picture
        from hardmine.report.sheet import sheet, show

        store, names = self.mining.store, self.audit.environments
        known = build_target_images(self.cfg, self.data)

        def target(row: int) -> Any:
            image = known.get(store.ids[row])
            return store.target_image(row) if image is None else image

        every: list[Any] = []
        worst = torch.from_numpy(table.accuracy[:, -1]).nan_to_num(2).argsort()[:_SHOWN].tolist()
        for number in worst:
            rows = ((of == number) & ~score.isnan()).nonzero().flatten()
            rows = rows[score[rows].argsort()]
            first = dict(reversed([(int(tries.source[row]), int(row)) for row in rows]))  # the hardest of each image
            rows = torch.tensor(sorted(first.values(), key=lambda row: float(score[row]))[: self.cfg.pictures])
            if not len(rows):
                continue
            scenes = self.mining.read(self._load(tries.source[rows].tolist()))
            made, _ = self.mining.examine(
                self.task, scenes, tries[rows], torch.arange(len(rows)), self.autocast, self._hooks
            )
            shown = [
                replace(show(made, row, store, target, self.data.classes), what=self.images.ids[int(tries.source[its])])
                for row, its in enumerate(rows.tolist())
            ]
            every += shown
            title = f"{names[number]}: the {len(shown)} hardest of {int((of == number).sum())} candidates"
            name = "".join(letter if letter.isalnum() else "_" for letter in names[number])
            picture = sheet(shown, title, store.areas, self.data.classes)
            write_picture(Path(self.cfg.out) / f"pictures/{name}.png", picture)
        if every:
            every = sorted(every, key=lambda each: each.score)[: max(4, self.cfg.pictures)]
            title = f"the {len(every)} hardest of {int((of >= 0).sum())} candidates"
            picture = sheet(every, title, store.areas, self.data.classes)
            write_picture(Path(self.cfg.out) / "pictures/hardest.png", picture)
