"""`hardmine mine`: the first embodiment, a search with a frozen model whose pieces become a data set."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hardmine.cli.config import key_of, run_configured, settings_of
from hardmine.errors import InputError


def command(arguments: list[str]) -> None:
    """Search with the model of `ckpt`; settings of the run it stands in hold, where not given anew."""
    given = {key_of(argument): argument.split("=", 1)[-1] for argument in arguments}
    if not any(argument in ("--help", "-h") for argument in arguments):
        for name, remedy in (("ckpt", "a checkpoint or a state dict"), ("out", "the folder to write to")):
            if name not in given:
                raise InputError(f"mine: {name} is missing: set {name}=PATH to {remedy}")
        run = Path(given["ckpt"]).expanduser().parent.parent
        if (run / ".hydra/overrides.yaml").is_file():
            kept = settings_of(run, arguments)
            arguments = [argument for argument in kept if argument in arguments or _describes(argument)]
    run_configured("mine", arguments, mine)


def _describes(argument: str) -> bool:
    """Whether a training run's argument says what its data and model are, not how it searched or trained."""
    groups = ("data", "model", "task", "store", "conversion", "scoring", "environment", "experiment", "predictor")
    return key_of(argument).split(".")[0] in groups


def mine(cfg: Any) -> None:
    """Search, then write the pieces; a search that was stopped goes on."""
    from hydra.utils import instantiate

    from hardmine.cli.build import build_conversion, build_data, build_store, build_task
    from hardmine.cli.export import write_pieces
    from hardmine.cli.train import quieten
    from hardmine.memory.ledger import Ledger
    from hardmine.miner import Miner
    from hardmine.search import Search

    quieten()
    out = Path(cfg.out)
    if (out / "metadata.csv").exists():
        raise InputError(f"{out}: already holds a data set: set out= to another folder")
    if cfg.neighbourhood["_target_"] is None:
        raise InputError("neighbourhood=none searches nothing: take auto, or random for a plain threshold filter")
    data = build_data(cfg, flip=False)
    task = build_task(cfg, data)
    images = data.split("train")
    images.preload()
    conversion = build_conversion(cfg, data)
    miner = Miner(
        build_store(cfg, data, conversion),
        len(images),
        instantiate(cfg.neighbourhood, _convert_="all"),
        instantiate(cfg.first, _convert_="all"),
        conversion,
        instantiate(cfg.buffer),
        instantiate(cfg.stopping),
        seed=cfg.seed,
        hardest=cfg.mining.hardest,
    )
    ledger = Ledger(out / "ledger")
    _search(cfg, Search(miner, len(images), **cfg.search), ledger, data, task)
    write_pieces(out, data, miner.conversion, miner.store, ledger.pieces(), cfg.sources)
    _show(out, cfg.mining.threshold, miner, data.kind)


def _search(cfg: Any, search: Any, ledger: Any, data: Any, task: Any) -> None:
    """To the end, from where an earlier call was stopped."""
    import torch
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    from hardmine.files import write_atomically

    kept = Path(cfg.out) / "search.pt"
    if kept.exists():
        search.load_state_dict(torch.load(kept, weights_only=True))
    ledger.truncate(search.miner.rounds)

    def keep() -> None:
        ledger.flush()
        write_atomically(kept, lambda file: torch.save(search.state_dict(), file))

    judge = _judge(cfg, data, task, search.miner)
    console = Console(stderr=True)
    columns = (TextColumn("searching"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(
        *columns, TextColumn("{task.fields[found]}"), console=console, disable=not console.is_terminal
    ) as bar:
        shown = bar.add_task("", total=1.0, found="")
        while not search.done:
            ledger.append(*search.step(judge, cfg.mining.threshold))
            tally = search.miner.tally
            found = f"hit rate {tally.hit_rate:.0%}  pieces {tally.pieces}"
            bar.update(shown, completed=search.progress, found=found)
            if search.miner.rounds % cfg.keep_every == 0:
                keep()
                if not console.is_terminal:
                    console.print(f"{search.progress:.0%} searched  {found}", soft_wrap=True)
    keep()


def _judge(cfg: Any, data: Any, task: Any, miner: Any) -> Callable[[Any], Any]:
    """Convert, score and gate the candidates of a recipe with the frozen model, on the fastest device there is."""
    import torch
    from hydra.utils import instantiate

    from hardmine.candidates import Candidates
    from hardmine.cli.build import build_gates
    from hardmine.data.replay import Replayed
    from hardmine.judge import Judge, split
    from hardmine.scenes import Scenes
    from hardmine.tasks.precision import auto_precision

    device = torch.device("cuda" if torch.cuda.is_available() and cfg.trainer.accelerator != "cpu" else "cpu")
    precision = auto_precision(cfg.trainer.accelerator) if cfg.trainer.precision == "auto" else cfg.trainer.precision
    judge = Judge(instantiate(cfg.scoring), build_gates(cfg))
    task = task.to(device)
    for gate in judge.gates:
        gate.start(task)
    replayed = Replayed(data.split("train"), torch.utils.data.default_collate)

    def autocast() -> torch.autocast:
        return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16-mixed")

    def judged(recipe: Any) -> Any:
        batch = {name: value.to(device) for name, value in replayed[recipe].items()}
        source = Scenes.of_batch(batch, len(miner.store.areas))
        made, capped = miner.conversion(source, recipe)
        batch = {**batch, "image": made.image, "regions": made.regions, **made.labels}
        offered = data.on_after_batch_transfer(batch, 0)
        return split(judge(task, Candidates(offered, recipe, recipe, miner, source, made, capped), autocast).cpu())

    return judged


def _show(out: Path, threshold: float, miner: Any, kind: str) -> None:
    """Files and the table at the end of a search."""
    from rich.console import Console

    from hardmine.cli.export import what_next
    from hardmine.files import write_atomically
    from hardmine.report import write_graph
    from hardmine.report.environments import environment_cells

    write_graph(out, miner, threshold)
    tally, reason = miner.tally, miner.stopping.reason
    summary = {"pieces": tally.pieces, "candidates": tally.candidates, "hit_rate": tally.hit_rate}
    text = json.dumps({**summary, "refused": tally.refused, "stopped": reason}, indent=2, sort_keys=True) + "\n"
    write_atomically(out / "summary.json", lambda file: file.write(text.encode()))
    (out / "search.pt").unlink(missing_ok=True)
    console = Console()
    console.print(environment_cells(miner.store, miner.graph))
    if reason:
        console.print(f"the search was over before the end: {reason}")
    found = f"{tally.pieces} pieces from {tally.candidates} candidates (hit rate {tally.hit_rate:.0%})"
    console.print(f"{found}\n{what_next(out, kind)}", soft_wrap=True)
