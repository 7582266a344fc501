"""The command: a Hydra sweep that trains what is missing, or a look at what is stored."""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

import hydra
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hardmine.cli import failed
from hardmine.cli.explain import explain
from hardmine.errors import InputError
from quality.runs import Run, collect, found, plan, present, run_all

PROGRAM = "scripts/benchmark_quality"
CONF = Path(__file__).parent / "conf"
KEYS = """\
keys: root=PATH protocol=camvid,blood_cells,... size=quick,full method=none,hardmine,... store=s8,m64
targets=false,true seed=0,1,... jobs=1 out=FOLDER results=FILE; several values at once are run one after the other.
Runs that are finished are skipped, so that the same command goes on where it was stopped."""


def main() -> None:
    """Entry point. Bad input prints one line to standard error and exits with 2."""
    parser = argparse.ArgumentParser(PROGRAM, description=__doc__, epilog=KEYS, allow_abbrev=False)
    parser.add_argument("--table", action="store_true", help="print what every method comes to, as Markdown")
    parser.add_argument("--classes", action="store_true", help="print it for each class")
    parser.add_argument("--plots", type=Path, metavar="FOLDER", help="draw curves and hit rates")
    parser.add_argument("--check", action="store_true", help="print one JSON line: what was aimed at and what came")
    parser.add_argument("--collect", action="store_true", help="read the finished runs under `out` again")
    arguments, overrides = parser.parse_known_args()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # exceptions reach the handler below in place of Hydra's own report
    OmegaConf.register_new_resolver("present", lambda *of: ",".join(present(*of)), replace=True)
    try:
        if any((arguments.table, arguments.classes, arguments.plots, arguments.check, arguments.collect)):
            look(arguments, overrides)
        else:
            sweep(overrides)
    except (InputError, HydraException, OmegaConfBaseException) as error:
        raise failed(explain(error, PROGRAM)) from None


def sweep(overrides: list[str]) -> None:
    """Plan the grid, then train; exit code 1 where a run failed."""
    planned: list[Run] = []
    cfgs: list[Any] = []

    def job(cfg: Any) -> None:
        try:
            planned.append(plan(cfg))
        except (InputError, OmegaConfBaseException) as error:
            raise failed(explain(error, PROGRAM)) from None  # Hydra adds lines of its own to any other exception
        cfgs.append(cfg)

    sys.argv = ["benchmark_quality", *overrides]
    hydra.main(version_base="1.3", config_path=str(CONF), config_name="quality")(job)()
    if planned and run_all(planned, results_file(cfgs[0]), cfgs[0].jobs):
        raise SystemExit(1)


def look(arguments: argparse.Namespace, overrides: list[str]) -> None:
    """Everything that only reads what is stored."""
    from quality.check import check, every_kind
    from quality.compare import groups
    from quality.plots import draw
    from quality.results import read
    from quality.table import class_tables, method_tables

    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        cfg: Any = hydra.compose("quality", overrides, return_hydra_config=True)
    if arguments.collect:
        collect(found(Path(cfg.out), list(cfg.stores)), results_file(cfg))
    kinds = arguments.check and cfg.protocol is None
    if arguments.check:
        size_of_kinds = cfg.size or "quick"
        cfg.protocol, cfg.size = cfg.protocol or "camvid", cfg.size or "full"
    wanted = {name: cfg[name] for name in ("protocol", "size", "targets")}
    protocols = cfg.protocols
    metrics = {name: protocol.metric for name, protocol in protocols.items()}
    if cfg.protocol not in (None, *protocols):
        raise InputError(f"protocol={cfg.protocol} is unknown: take one of {', '.join(protocols)}")
    curves = read(results_file(cfg), **wanted)
    every = groups(curves, metrics, list(cfg.methods))
    every = [group for group in every if cfg.store in (None, group.key.store)]
    if not every and (arguments.table or arguments.classes or arguments.plots):
        raise InputError(f"{results_file(cfg)}: no such results: run scripts/benchmark_quality root=PATH first")
    titles, names = dict(cfg.methods), {name: protocol.title for name, protocol in protocols.items()}
    if arguments.table:
        without = {name: (of.per_class, of.without) for name, of in protocols.items() if of.get("without")}
        print(method_tables(every, titles, names, without))
    if arguments.classes:
        print(class_tables(every, titles, {name: protocol.per_class for name, protocol in protocols.items()}))
    if arguments.plots:
        for group in every:
            for path in draw(arguments.plots, group, titles, names[group.key.protocol], list(cfg.shown)):
                print(path)
    if arguments.check:
        seeds = [int(seed) for seed in str(cfg.hydra.sweeper.params.seed).split(",")]
        every = groups(curves, metrics, list(cfg.methods), list(cfg.stores))
        told = check(every, cfg.protocol, cfg.size, seeds)
        if kinds:
            curves = read(results_file(cfg), size=size_of_kinds, targets=False)
            every = groups(curves, metrics, list(cfg.methods), list(cfg.stores))
            of_kinds = every_kind(every, list(protocols), size_of_kinds, seeds)
            told |= {**of_kinds, "goals": told["goals"] | of_kinds["goals"]}
        print(json.dumps(told))


def results_file(cfg: Any) -> Path:
    return Path(cfg.results or Path(__file__).parent / "results.parquet")


if __name__ == "__main__":
    main()
