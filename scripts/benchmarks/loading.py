"""What it costs to read images and to come to the first step, on one core.

images_per_s        JPEGs of 1024 x 2048 read and resized to --size, nothing kept in memory
ratio_exact         seconds of decoding in full before resizing / of decoding smaller (data.exact_resize=false)
mean_difference     of the two, in levels
ratio_torchvision   seconds of Pillow / of torchvision, decoding in full without resizing
max_difference      of these two, in levels
ratio_cached        seconds of reading an image / of taking it from memory
first_step_extra_s  CPU seconds from `hardmine train --settings` to its first step, less those of a process that imports
                    torch and lightning alone
drawing_s           those of drawing the images of the embedded example, which is what runs without --settings

Ratios are median, first and third quartile; every way is run once in each round.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from measuring import here, parser, quartiles, ratios, show, taking_turns
from PIL import Image
from torchvision.io import ImageReadMode, decode_jpeg, read_file

from hardmine.data import FolderData, RiversideData
from hardmine.data.images import read_image

OWN = 1024, 2048
IMPORTS = "import time, torch, lightning; print('CPU', time.process_time())"


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


def cpu(arguments: list[str]) -> float:
    """Seconds of CPU that Python took until it said so."""
    path = os.pathsep.join(filter(None, (str(Path(__file__).parent), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    ran = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=environment)
    said = [line.split()[1] for line in ran.stdout.splitlines() if line.startswith("CPU ")]
    if not said:
        raise SystemExit(f"the run did not come to its first step: {ran.stderr[-300:]}")
    return float(said[0])


def to_first_step(settings: list[str]) -> float:
    """Seconds of CPU that a run takes to its first step, beyond those of importing torch and lightning."""
    with tempfile.TemporaryDirectory() as folder:
        run = ["-m", "hardmine", "train", f"hydra.run.dir={folder}/run", "+callbacks.first._target_=first_step.First"]
        return cpu([*run, *settings]) - cpu(["-c", IMPORTS])


def drawing() -> float:
    """Seconds of CPU in which the images of the embedded example are drawn that are looked at before its first step."""
    data, began = RiversideData(), time.process_time()
    for split in ("train", "target", "val"):
        data.split(split).preload()
    return time.process_time() - began


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--rounds", type=int, default=9, help="that are measured")
    options.add_argument("--starts", type=int, default=5, help="runs that are started; 0 leaves them out")
    options.add_argument("--settings", nargs="*", default=[], metavar="KEY=VALUE", help="of the runs that are started")
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
    starts = [(to_first_step(arguments.settings), drawing()) for _ in range(arguments.starts)]
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
