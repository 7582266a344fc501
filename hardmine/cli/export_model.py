"""`hardmine export model`: the network of a run as a file that other programs run."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hardmine.cli import failed
from hardmine.cli.config import allowed, plain_arguments
from hardmine.cli.paths import look_at_output
from hardmine.errors import InputError

_KINDS = (".onnx", ".pt2")


def command(arguments: list[str]) -> None:
    """Write the network of a checkpoint, and see that the file gives the same outputs."""
    given = plain_arguments("export model", arguments, ("ckpt", "out", "weights", "allow"))
    if not given.keys() >= {"ckpt", "out"}:
        raise InputError(
            "export model: use hardmine export model ckpt=FILE out=FILE.onnx|FILE.pt2 [weights=model|judge]"
        )
    weights, path = given.get("weights", "model"), Path(given["out"])
    if weights not in ("model", "judge"):
        raise InputError(f"export model: weights={weights} is unknown: take model or judge")
    if path.suffix not in _KINDS:
        raise InputError(f"out: {path}: its ending says what is written: set out=FILE{' or out=FILE'.join(_KINDS)}")
    look_at_output("out", str(path.parent))
    if path.exists() or path.is_symlink():
        raise InputError(f"out: {path}: is there already: name another file")

    from hardmine.tasks.exported import look_at_onnx

    if path.suffix == ".onnx":
        look_at_onnx()
    allow = allowed([f"allow={given['allow']}"]) if "allow" in given else []
    for line in _write(Path(given["ckpt"]), path, weights, allow):
        print(line)


def _write(ckpt: Path, path: Path, weights: str, allow: list[str]) -> list[str]:
    """Lines on what was written."""
    from hardmine import __version__
    from hardmine.cli.build import build_frozen_task
    from hardmine.tasks.detection import DetectionTask
    from hardmine.tasks.exported import Network, agreement, larger, takes_any_size, traced, write_onnx, write_pt2
    from hardmine.tasks.weights import load_judge

    task, run = build_frozen_task(ckpt, "ckpt", allow)
    if isinstance(task, DetectionTask):
        raise InputError(
            "ckpt: torch.export cannot follow a detector of torchvision, whose computation depends on what is seen: "
            "take the state dict of the checkpoint"
        )
    if weights == "judge":
        load_judge(task, ckpt)
    network, size = Network(task), _size(run)
    facts: dict[str, Any] = {"classes": list(task.classes), "input": "RGB, sRGB in [0, 1], not normalised"}
    program = traced(network, size)
    free = takes_any_size(program)
    facts |= {"size": list(size), "any_size": free, "weights": weights, "hardmine": __version__}
    sizes = (size, larger(size)) if free else (size,)
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        part = Path(folder) / path.name
        (write_onnx if path.suffix == ".onnx" else write_pt2)(part, program, facts)
        found = agreement(network, part, sizes)
        if not found.close:
            raise failed(
                f"{path}: is not written: its outputs differ from those of the network by up to {found.difference:.1e} "
                f"(logits from {found.low:.3g} to {found.high:.3g})",
                1,
            )
        os.replace(part, path)
    count = sum(each.numel() for each in network.parameters())
    where = "any height and width that the network takes" if free else f"{size[0]} x {size[1]} pixels"
    looked = " and ".join(f"{height} x {width}" for height, width in sizes)
    what = "the judge, a moving average of the model" if weights == "judge" else "the model"
    return [
        f"{path}: {what}, {count / 1e6:.1f} million weights, {path.stat().st_size / 1e6:.1f} MB",
        f"input: image (N, 3, H, W) float32, sRGB in [0, 1], {where}; the file normalises it itself",
        f"output: logits of {', '.join(task.classes)}",
        f"checked on random images of {looked}: logits differ by {found.difference:.1e} at most (they lie between "
        f"{found.low:.3g} and {found.high:.3g}), {found.same:.2%} of the predicted classes are the same",
    ]


def _size(run: Any) -> tuple[int, int]:
    """Height and width that the run trained on."""
    height, width = run.data.size
    return int(height), int(width)
