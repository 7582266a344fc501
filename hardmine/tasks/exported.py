"""A network as a file that runs without hardmine: ONNX, or an exported program of PyTorch (.pt2)."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from hardmine.errors import InputError
from hardmine.tasks.base import Task

_NEEDED = ("onnx", "onnxscript", "onnxruntime")
_INPUT, _OUTPUT = "image", "logits"


class Network(nn.Module):
    """A task's network with its normalisation: (N, 3, H, W) float32 in [0, 1], sRGB, to logits.

    Args:
        task: of segmentation or classification.
    """

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.normalise: Any = task.normalise
        self.net: Any = task.net
        self.net.to(memory_format=torch.contiguous_format)  # as every reader of the file has it
        self.eval()

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.net(self.normalise(image))
        return logits


@dataclass(frozen=True)
class Agreement:
    """How well a file agrees with the network.

    Attributes:
        difference: largest absolute difference of a logit.
        low, high: the smallest and the largest logit.
        same: share of the predicted classes that are the same.
        sizes: height and width of the images that were looked at.
    """

    difference: float
    low: float
    high: float
    same: float
    sizes: tuple[tuple[int, int], ...]

    @property
    def close(self) -> bool:
        """Whether the difference is one of rounding; NaN is none."""
        return self.difference <= 1e-3 * max(1.0, abs(self.low), abs(self.high))


def look_at_onnx() -> None:
    """See that what writes ONNX is installed.

    Raises:
        InputError: it is not.
    """
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise InputError(f"out: ONNX needs {', '.join(missing)}: pip install 'hardmine[onnx]', or set out=FILE.pt2")


def traced(network: Network, size: tuple[int, int]) -> ExportedProgram:
    """The network as a program for any number of images, and of any size where it takes one.

    Args:
        network: to write.
        size: height and width of an image that it takes.

    Raises:
        InputError: its computation depends on what is seen.
    """
    image = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    batch = Dim("batch", min=1)
    try:
        with torch.no_grad():
            program = torch.export.export(network, (image,), dynamic_shapes=({0: batch, 2: Dim.AUTO, 3: Dim.AUTO},))
            if _takes(program, larger(size)) or not takes_any_size(program):
                return program
            # some networks compute otherwise where the image shrinks to one pixel; a size is stated then
            return torch.export.export(network, (image,), dynamic_shapes=({0: batch},))
    except Exception as error:  # torch has many kinds
        why = " ".join(str(error).split())[:160]
        raise InputError(f"ckpt: torch.export cannot follow this network ({why}): take another model") from None


def larger(size: tuple[int, int]) -> tuple[int, int]:
    """Another size that a network of strides up to 32 takes."""
    return size[0] + 32, size[1] + 64


def _takes(program: ExportedProgram, size: tuple[int, int]) -> bool:
    try:
        program.module()(torch.zeros(1, 3, *size))
    except (AssertionError, RuntimeError):  # of its guards
        return False
    return True


def takes_any_size(program: ExportedProgram) -> bool:
    """Whether height and width are free."""
    image = next(node for node in program.graph.nodes if node.op == "placeholder" and node.name == _INPUT)
    return not any(isinstance(side, int) for side in image.meta["val"].shape[2:])


def write_pt2(path: Path, program: ExportedProgram, facts: Mapping[str, Any]) -> None:
    """As `torch.export.load` reads it; the facts are its extra file `hardmine.json`."""
    torch.export.save(program, path, extra_files={"hardmine.json": json.dumps(facts, ensure_ascii=False)})


def write_onnx(path: Path, program: ExportedProgram, facts: Mapping[str, Any]) -> None:
    """With the facts as metadata of the model, each as JSON; the weights are in the file itself."""
    names = {0: "batch", **({2: "height", 3: "width"} if takes_any_size(program) else {})}
    (image,), _ = program.example_inputs
    made = torch.onnx.export(
        program,
        (image,),
        dynamo=True,
        input_names=[_INPUT],
        output_names=[_OUTPUT],
        dynamic_shapes=(names,),
        external_data=False,
        verbose=False,
    )
    assert made is not None
    made.model.metadata_props.update({name: json.dumps(value, ensure_ascii=False) for name, value in facts.items()})
    made.save(path, external_data=False)


def reader(path: Path) -> Callable[[Tensor], Tensor]:
    """What a file gives for images. PyTorch unpickles parts of a .pt2: read only what was just written."""
    if path.suffix == ".pt2":
        read: Callable[[Tensor], Tensor] = torch.export.load(path).module()
        return read
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda image: torch.from_numpy(session.run(None, {_INPUT: image.numpy()})[0])


@torch.no_grad()
def agreement(network: Network, path: Path, sizes: tuple[tuple[int, int], ...]) -> Agreement:
    """Compare a file with the network on random images, one and three at a time.

    Args:
        network: that was written.
        path: of the file.
        sizes: height and width of the images.
    """
    read, generator = reader(path), torch.Generator().manual_seed(1)
    pairs = []
    for size in sizes:
        for count in (1, 3):
            image = torch.rand(count, 3, *size, generator=generator)
            pairs.append((network(image), read(image)))
    different = [(one - other).abs().max() for one, other in pairs]
    same = torch.cat([(one.argmax(1) == other.argmax(1)).flatten() for one, other in pairs]).float().mean()
    own = [one.aminmax() for one, _ in pairs]
    return Agreement(
        float(torch.stack(different).max()),
        float(min(each.min for each in own)),
        float(max(each.max for each in own)),
        float(same),
        sizes,
    )
