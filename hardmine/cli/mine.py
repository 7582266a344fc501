"""`hardmine mine`: the first embodiment, a search with a frozen model whose pieces become a data set."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hardmine.cli.config import tell_unused
from hardmine.cli.lent import run_with_model
from hardmine.errors import InputError
from hardmine.machine import Machine
from hardmine.runs import RunFolder

KEPT = "search.pt"  # what a search that was stopped goes on from
# blocks that decide on what is found
_DECIDING = (
    *("model", "task", "conversion", "scoring", "environment", "neighbourhood", "first", "gate"),
    *("mining", "search", "stopping", "seed"),
)
# keys that a search has no use for
_OF_TRAINING = (
    *("trainer.max_steps", "update", "callbacks", "checkpoint", "early_stopping", "logger"),
    *(f"mining.{key}" for key in ("start", "mined", "stand_ins", "score_size")),
)


def command(arguments: list[str]) -> None:
    """Search with the model of `ckpt`; settings of the run it stands in hold, where not given anew."""
    needed = {"ckpt": "a checkpoint or a state dict", "out": "the folder to write to"}
    run_with_model("mine", arguments, needed, KEPT, mine)


def mine(cfg: Any) -> None:
    """Search, then write the pieces; a search that was stopped goes on."""
    import torch

    from hardmine.cli.album import PageAlbum
    from hardmine.cli.build import build_data, build_inventory, build_mining, build_target_images, build_task
    from hardmine.cli.export import what_next, write_pieces
    from hardmine.cli.report import report_of
    from hardmine.cli.train import quieten
    from hardmine.memory.ledger import Ledger
    from hardmine.numbered import Numbered

    quieten()
    out = Path(cfg.out)
    data = build_data(cfg, flip=False)
    task = build_task(cfg, data)
    mining = build_mining(cfg, data)
    if mining is None:
        raise InputError("neighbourhood=none searches nothing: take auto, or random for a plain threshold filter")
    tell_unused("mine trains nothing", _OF_TRAINING)
    images = data.split("train")
    images.preload()
    mining.ledger = Ledger(out / "ledger")
    given, search = build_inventory(cfg, data, mining), RunFolder(out)
    if (out / KEPT).exists():
        search.look_at_data(given)
    else:
        given.save(search.data)
    device = torch.device("cuda" if torch.cuda.is_available() and cfg.trainer.accelerator != "cpu" else "cpu")
    machine = Machine.here(device)
    numbered = Numbered(images)

    def load(rows: Any) -> Any:
        samples = [numbered[place] for place in zip(rows.source.tolist(), rows.draw.tolist(), strict=True)]
        batch = torch.utils.data.default_collate(samples)
        return {name: value.to(device) for name, value in batch.items()}

    gallery = _search(cfg, mining, len(images), load, data, task.to(device), build_target_images(cfg, data))
    then = ""
    if mining.tally.pieces:
        write_pieces(out, data, mining.conversion, mining.store, mining.ledger.pieces(), cfg.sources)
        then = what_next(out, cfg.data.get("size"))
    _show(out, mining.threshold, mining.miner, then, gallery, machine)
    album = PageAlbum(cfg, data, images, mining, out / "ledger", autocasting(cfg, device))
    album.look(task, "prediction", device)
    album.write(out)
    report_of(out, cfg.report)


def _search(cfg: Any, mining: Any, sources: int, load: Any, data: Any, task: Any, targets: Any) -> Any:
    """To the end, from where an earlier call was stopped; returns the `Gallery` of what was found."""
    import torch
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    from hardmine.files import write_atomically
    from hardmine.process import MiningProcess
    from hardmine.records import Recipe
    from hardmine.report.gallery import Gallery
    from hardmine.search import Search, Steps

    mining.read(load(Recipe.clean(torch.tensor([0]), torch.tensor([0]), 1, 1)))  # tells what the images are
    given = dict(cfg.search)
    rows, searches = given.pop("rows"), given.pop("searches")
    search = Search(mining.miner, sources, rows, Steps(**given), searches)

    def target(row: int) -> Any:
        image = targets.get(mining.store.ids[row])
        return mining.store.target_image(row) if image is None else image

    gallery = Gallery(mining.store, target, data.classes)
    kept, said = Path(cfg.out) / KEPT, _said(cfg)
    if kept.exists():
        saved = _kept(kept, said)
        mining.load_state_dict(saved["mining"])
        search.load_state_dict(saved["search"])
    mining.go_on_from(mining.ledger.truncate(mining.step))

    def keep() -> None:
        mining.ledger.flush()
        saved = {"said": said, "mining": mining.state_dict(), "search": search.state_dict()}
        write_atomically(kept, lambda file: torch.save(saved, file))

    autocast = autocasting(cfg, next(task.parameters()).device)
    process = MiningProcess(mining, load, task, autocast, lambda batch: data.on_after_batch_transfer(batch, 0))
    console = Console(stderr=True)
    columns = (TextColumn("searching"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(
        *columns, TextColumn("{task.fields[found]}"), console=console, disable=not console.is_terminal
    ) as bar:
        shown = bar.add_task("", total=1.0, found="")
        while not search.done:
            judged = search.step(process, mining.step)
            gallery.look(mining.offered)
            search.output(process, *judged)
            mining.step += 1  # rounds, as the ledger counts them
            found = f"hit rate {mining.tally.hit_rate:.0%}  pieces {mining.tally.pieces}"
            bar.update(shown, completed=search.progress, found=found)
            if mining.step % cfg.keep_every == 0:
                keep()
                if not console.is_terminal:
                    console.print(f"{search.progress:.0%} searched  {found}", soft_wrap=True)
    mining.end()
    if search.trace is not None:
        search.trace.save()
    keep()
    return gallery


def _said(cfg: Any) -> dict[str, str]:
    """What decides on a search beside its data, by key."""
    from omegaconf import OmegaConf

    weights = hashlib.blake2b(Path(cfg.ckpt).expanduser().read_bytes(), digest_size=16).hexdigest()
    return {"ckpt": weights, **{key: OmegaConf.to_yaml({key: cfg[key]}) for key in _DECIDING}}


def _kept(path: Path, said: dict[str, str]) -> dict[str, Any]:
    """The state of a search that was stopped.

    Raises:
        InputError: the file is damaged, or of another search.
    """
    import torch

    try:
        saved: dict[str, Any] = torch.load(path, weights_only=True)
        then = dict(saved["said"])
    except Exception:  # torch has many kinds
        raise InputError(f"{path}: is damaged: set out= to another folder") from None
    for key, value in said.items():
        if then.get(key) != value:
            raise InputError(
                f"{key}: is not what the search in {path.parent} began with: set it as it was, or set "
                "out= to another folder"
            )
    return saved


def autocasting(cfg: Any, device: Any) -> Callable[[], Any]:
    """The precision that a training run would score with."""
    import torch

    from hardmine.tasks.precision import auto_precision

    precision = auto_precision(cfg.trainer.accelerator) if cfg.trainer.precision == "auto" else cfg.trainer.precision
    return lambda: torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16-mixed")


def _show(out: Path, threshold: float | None, miner: Any, then: str, gallery: Any, machine: Machine) -> None:
    """Files and the table at the end of a search, and what to do `then` with its pieces."""
    from rich.console import Console

    from hardmine.cli.summary import unfit
    from hardmine.files import write_atomically
    from hardmine.report.environments import environment_cells
    from hardmine.report.graph import write_graph
    from hardmine.report.table import print_table

    write_graph(out, miner.store, miner.graph, threshold)
    tally, reason = miner.tally, miner.stopping.reason
    gallery.write(out / "pictures", tally.pieces)
    summary: dict[str, Any] = {"pieces": tally.pieces, "candidates": tally.candidates, "hit_rate": tally.hit_rate}
    summary.update(refused=tally.refused, unscored=tally.unscored, stopped=reason, made=asdict(machine))
    text = json.dumps(summary, indent=2, sort_keys=True) + "\n"
    write_atomically(out / "summary.json", lambda file: file.write(text.encode()))
    (out / KEPT).unlink(missing_ok=True)
    RunFolder(out).data.unlink(missing_ok=True)
    console = Console()
    print_table(console, environment_cells(miner.store, miner.graph))
    if line := gallery.told(tally.pieces):
        console.print(line, soft_wrap=True)
    if reason:
        console.print(f"the search was over before the end: {reason}", soft_wrap=True, markup=False)
    found = f"{tally.pieces} pieces from {tally.candidates} candidates (hit rate {tally.hit_rate:.0%})"
    more = "raise mining.hardest" if threshold is None else f"set mining.threshold above {threshold:g}, or to auto"
    after = f"nothing to train on: {unfit(summary) or more}"
    console.print(f"{found}\n{then if tally.pieces else after}", soft_wrap=True, markup=False)
