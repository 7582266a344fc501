"""What it costs to read images and to come to the first step, on one core.

images_per_s        JPEGs of 1024 x 2048 read and resized to --size, nothing kept in memory
ratio_exact         seconds of decoding in full before resizing / of decoding smaller (data.exact_resize=false)
mean_difference     of the two, in levels
ratio_torchvision   seconds of Pillow / of torchvision, decoding in full without resizing
max_difference      of these two, in levels
ratio_cached        seconds of reading an image / of taking it from memory
first_step_extra_s  CPU seconds from the command to the first step of the embedded example, beyond importing torch and
                    lightning; drawing_s of them go into drawing its images

Ratios are median, first and third quartile; every way is run once in each round.
"""

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from measuring import here, parser, quartiles, ratios, show, taking_turns
from PIL import Image
from torchvision.io import ImageReadMode, decode_jpeg, read_file

from hardmine.data import FolderData
from hardmine.data.images import read_image

OWN = 1024, 2048
STEPS = """
import sys, time
import torch, lightning
began = time.process_time()
from hardmine.cli import main
from hardmine.tasks import SegmentationTask
from hardmine.data.labelled import LabelledImages
drawn, preload = [0.0], LabelledImages.preload
def drawing(images, workers=4):
    started = time.process_time()
    preload(images, workers)
    drawn[0] += time.process_time() - started
def first(*_):
    print(time.process_time() - began, drawn[0])
    sys.stdout.flush()
    raise KeyboardInterrupt
LabelledImages.preload, SegmentationTask.training_step = drawing, first
main(["train", "hydra.run.dir=" + sys.argv[1], "report=false"])
"""


def write(folder: Path, images: int) -> Path:
    """A folder in hardmine's layout, of smooth images with noise and a label map each."""
    (folder / "images").mkdir(parents=True)
    (folder / "regions").mkdir()
    generator = torch.Generator().manual_seed(0)
    for number in range(images):
        rough = torch.rand(1, 3, 16, 32, generator=generator)
        smooth = torch.nn.functional.interpolate(rough, OWN, mode="bicubic", align_corners=False)[0] * 255
        pixels = (smooth + torch.randn(smooth.shape, generator=generator) * 6).clamp(0, 255).byte()
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(folder / "images" / f"{number}.jpg", quality=92)
        labels = (torch.arange(OWN[1]) * 4 // OWN[1]).byte().expand(OWN)
        Image.fromarray(labels.numpy()).save(folder / "regions" / f"{number}.png")
    (folder / "metadata.csv").write_text("id,split\n" + "".join(f"{number},train\n" for number in range(images)))
    (folder / "classes.csv").write_text("index,name\n" + "".join(f"{label},area{label}\n" for label in range(4)))
    return folder


def difference(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return (one.int() - other.int()).abs().float()


def to_first_step(times: int) -> list[tuple[float, float]]:
    """Seconds of CPU to the first step, and those of drawing, each time in a process of its own."""
    found = []
    for _ in range(times):
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-c", STEPS, str(Path(folder) / "run")]
            environment = {**os.environ, "OMP_NUM_THREADS": "1"}
            ran = subprocess.run(command, capture_output=True, text=True, env=environment)
        lines = [line.split() for line in ran.stdout.splitlines()]
        numbers = next((line for line in lines if len(line) == 2 and line[0][0].isdigit()), None)
        if numbers is None:
            raise SystemExit(f"the run did not come to its first step: {ran.stderr[-300:]}")
        found.append((float(numbers[0]), float(numbers[1])))
    return found


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--rounds", type=int, default=9, help="that are measured")
    options.add_argument("--starts", type=int, default=3, help="runs that are started; 0 leaves them out")
    options.add_argument("--images", type=int, default=4, help="that are read in each round")
    options.add_argument("--size", type=int, nargs=2, default=(192, 384), metavar=("H", "W"), help="pixels")
    arguments = options.parse_args()
    torch.set_num_threads(1)
    size = arguments.size[0], arguments.size[1]
    with tempfile.TemporaryDirectory() as folder:
        root = write(Path(folder) / "photos", arguments.images)
        paths = sorted((root / "images").iterdir())
        uncached = FolderData(str(root), size, cache_gib=0.0, flip=False, exact_resize=False).split("train")
        cached = FolderData(str(root), size, flip=False, exact_resize=False).split("train")
        cached.preload()

        def by_torchvision() -> list[torch.Tensor]:
            return [decode_jpeg(read_file(str(path)), ImageReadMode.RGB) for path in paths]

        ways = {
            "samples": lambda: [uncached[number] for number in range(len(paths))],
            "cached": lambda: [cached[number] for number in range(len(paths))],
            "exact": lambda: [read_image(path, size) for path in paths],
            "smaller": lambda: [read_image(path, size, exact=False) for path in paths],
            "pillow": lambda: [read_image(path) for path in paths],
            "torchvision": by_torchvision,
        }
        spent = taking_turns(ways, arguments.rounds)
        apart = [difference(read_image(path, size)[0], read_image(path, size, exact=False)[0]) for path in paths]
        decoded = zip(paths, by_torchvision(), strict=True)
        furthest = max(float(difference(read_image(path)[0], other).max()) for path, other in decoded)
    starts = to_first_step(arguments.starts)
    result = {
        "images_per_s": quartiles([len(paths) / each for each in spent["samples"]], 1),
        "ratio_exact": quartiles(ratios(spent["exact"], spent["smaller"])),
        "mean_difference": round(float(np.mean([float(each.mean()) for each in apart])), 3),
        "ratio_torchvision": quartiles(ratios(spent["pillow"], spent["torchvision"])),
        "max_difference": furthest,
        "ratio_cached": quartiles(ratios(spent["samples"], spent["cached"]), 1),
    }
    if starts:
        result["first_step_extra_s"] = round(statistics.median(each for each, _ in starts), 2)
        result["drawing_s"] = round(statistics.median(drawn for _, drawn in starts), 2)
    show({**result, "size": list(size), "own_size": list(OWN), "rounds": arguments.rounds, **here()}, arguments.json)


if __name__ == "__main__":
    main()
