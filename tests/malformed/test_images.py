"""Images and index images: what their files hold, where they are, and what is taken otherwise than it may be meant."""

import io
import os
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image, ImageCms

from hardmine.data import FolderData, ImageFolderData
from hardmine.data.header import look_at_image
from hardmine.data.images import LABEL_SUFFIXES, SUFFIXES, read_image
from hardmine.errors import InputError
from malformed.ground import CLASSES, IDS, SIZE, SPLITS, Spoil, coco, refused, rng, soon, write_coco_file, write_folder

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".bmp": "BMP", ".tif": "TIFF", ".webp": "WEBP", ".ppm": "PPM"}
PARTS = {"image": "images", "index image": "regions"}

Case = tuple[str, Spoil, str]
"""Split that the line is asked for, what spoils the folder, and what the line says."""


def pixels(*channels: int, top: int = 256, kind: Any = np.uint8) -> np.ndarray:
    return np.random.default_rng(top).integers(0, top, (*SIZE, *channels)).astype(kind)


def saved(image: Image.Image | np.ndarray, kind: str = "PNG", **more: Any) -> bytes:
    """The bytes of a file."""
    made = image if isinstance(image, Image.Image) else Image.fromarray(image)
    made.save(file := io.BytesIO(), kind, **more)
    return file.getvalue()


def png(width: int, height: int, depth: int, colors: int, rows: bytes) -> bytes:
    """A PNG that Pillow would not write; its checksums are right."""
    header = struct.pack(">IIBBBBB", width, height, depth, colors, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


def tiff(depth: int, channels: int, photometric: int, data: bytes) -> bytes:
    """A TIFF of one strip, not compressed, that Pillow would not write."""
    entries = [(256, 3, 1, SIZE[1]), (257, 3, 1, SIZE[0]), (258, 3, 1, depth), (259, 3, 1, 1), (262, 3, 1, photometric)]
    entries += [(273, 4, 1, 0), (277, 3, 1, channels), (278, 3, 1, SIZE[0]), (279, 4, 1, len(data))]
    end = 8 + 2 + 12 * len(entries) + 4
    if channels > 1:
        entries[2] = (258, 3, channels, end)
    entries[5] = (273, 4, 1, end + 2 * channels)
    directory = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    depths = struct.pack(f"<{channels}H", *[depth] * channels)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + directory + b"\0\0\0\0" + depths + data


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return exif


def rows_of(depth: int, channels: int = 1) -> bytes:
    """Noise for `png`, each row with the filter that is none."""
    width = (SIZE[1] * depth * channels + 7) // 8
    return b"".join(b"\0" + rng(depth, row).randbytes(width) for row in range(SIZE[0]))


def place(name: str) -> tuple[str, str]:
    """Split and id of the image that a case spoils."""
    number = rng("place", name).randrange(len(IDS))
    return SPLITS[number], IDS[number]


def put(root: Path, what: str, name: str, content: bytes, suffix: str = ".png") -> None:
    """A file in place of that of an image."""
    (root / PARTS[what] / f"{name}.png").unlink()
    (root / PARTS[what] / f"{name}{suffix}").write_bytes(content)


Place = Callable[[Path], object]


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def ring(path: Path) -> None:
    path.unlink()
    path.symlink_to("one")
    (path.parent / "one").symlink_to("other")
    (path.parent / "other").symlink_to(path.name)


def nowhere(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.parent / "gone")


def device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


PLACES: dict[str, tuple[Place, str]] = {
    "a folder": (folder, "a folder and no file"),
    "a pipe": (pipe, "a pipe, a socket or a device"),
    "a link to itself": (loop, "too many levels"),
    "a ring of links": (ring, "too many levels"),
    "a link to nothing": (nowhere, "a link that leads nowhere"),
    "a device": (device, "a pipe, a socket or a device"),
}


def damaged(kind: str, picture: np.ndarray) -> Iterator[tuple[str, bytes]]:
    """A good file of a format, cut off or scratched."""
    good = saved(picture, kind)
    for share in (0.02, 0.3, 0.6, 0.8):
        yield f"cut off at {share}", good[: max(3, int(len(good) * share))]
    yield "that begins with NULs", bytes(16) + good[16:]
    yield "that is empty", b""


NO_IMAGES = {
    "text": b"this is no image\n" * 20,
    "HTML": b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
    "a pointer of Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
    "GIF": saved(pixels(3), "GIF"),
    "ICO": saved(pixels(3), "ICO"),
    "PDF": saved(pixels(3), "PDF"),
    "NPY": b"\x93NUMPY\x01\x00v\x00" + bytes(200),
    "ZIP": b"PK\x03\x04" + bytes(200),
    "SVG": b'<svg xmlns="http://www.w3.org/2000/svg" width="16" height="12"/>',
    "random bytes": rng("noise").randbytes(3000),
    "NULs": bytes(3000),
}

EMPTY = {
    "no width": png(0, 12, 8, 2, b""),
    "no height": png(16, 0, 8, 2, b""),
    "no pixels": png(0, 0, 8, 2, b""),
    "BMP of no size": b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 0, 0, 1, 24, 0, 0, 0, 0, 0, 0),
}

BOMBS = {
    "PNG of 10 billion pixels": png(100_000, 100_000, 8, 2, bytes(1000)),
    "PNG as wide as it can be": png(2**31 - 1, 2**31 - 1, 8, 2, bytes(10)),
    "PPM of 10 billion pixels": b"P6 100000 100000 255\n" + bytes(1000),
    "BMP of 900 million pixels": b"BM"
    + struct.pack("<IHHIIiiHHIIiiII", 200, 0, 0, 54, 40, 30_000, 30_000, 1, 24, 0, 0, 0, 0, 0, 0)
    + bytes(100),
    "palette PNG of 10 billion pixels": png(100_000, 100_000, 8, 0, bytes(1000)),
}

DEEP = pixels(3, top=4096, kind=np.uint16).astype(">u2").tobytes()
OTHER_KINDS: dict[str, tuple[bytes, str]] = {
    "grey": (saved(pixels()), "a grey image"),
    "grey JPEG": (saved(pixels(), "JPEG"), "a grey image"),
    "grey of 4 bits": (png(16, 12, 4, 0, rows_of(4)), "a grey image"),
    "grey with alpha": (saved(Image.fromarray(pixels()).convert("LA")), "a grey image with an alpha"),
    "alpha": (saved(pixels(4)), "an image with an alpha"),
    "alpha in WebP": (saved(pixels(4), "WEBP"), "an image with an alpha"),
    "alpha in TIFF": (saved(pixels(4), "TIFF"), "an image with an alpha"),
    "palette": (saved(Image.fromarray(pixels(3)).convert("P")), "a palette image"),
    "palette of 16": (saved(Image.fromarray(pixels(3)).quantize(16), bits=4), "a palette image"),
    "palette in BMP": (saved(Image.fromarray(pixels(3)).quantize(200), "BMP"), "a palette image"),
    "black and white": (saved(Image.fromarray(pixels()).convert("1")), "a black-and-white image"),
    "CMYK": (saved(Image.fromarray(pixels(3)).convert("CMYK"), "JPEG"), "a CMYK image"),
    "CMYK in TIFF": (saved(Image.fromarray(pixels(3)).convert("CMYK"), "TIFF"), "a CMYK image"),
    "grey of 16 bits": (saved(pixels(top=2**16, kind=np.uint16)), "a 16-bit image"),
    "grey of 16 bits in TIFF": (saved(pixels(top=2**16, kind=np.uint16), "TIFF"), "a 16-bit image"),
    "grey of 16 bits in PGM": (b"P5 16 12 65535\n" + rng("pgm").randbytes(2 * 192), "a 16-bit image"),
    "RGB of 16 bits": (png(16, 12, 16, 2, rows_of(16, 3)), "a 16-bit image"),
    "RGBA of 16 bits": (png(16, 12, 16, 6, rows_of(16, 4)), "a 16-bit image"),
    "grey of 16 bits with alpha": (png(16, 12, 16, 4, rows_of(16, 2)), "a 16-bit image"),
    "RGB of 16 bits in TIFF": (tiff(16, 3, 2, rng("tiff").randbytes(6 * 192)), "a 16-bit image"),
    "RGB of 16 bits in PPM": (b"P6 16 12 65535\n" + rng("ppm").randbytes(6 * 192), "a 16-bit image"),
    "RGB of 12 bits in PPM": (b"P6 16 12 4095\n" + DEEP, "a 16-bit image"),
}

NO_RANGE: dict[str, bytes] = {  # of which nobody can say what is white
    "floats": saved(pixels(kind=np.float32), "TIFF"),
    "32 bits": saved(pixels(kind=np.int32), "TIFF"),
    "Lab": saved(Image.fromarray(pixels(3)).convert("LAB"), "TIFF"),
}

FRAMES = [Image.new("RGB", (16, 12), color) for color in ("green", "blue")]
PAGES = {
    "PNG of 3 frames": saved(pixels(3), save_all=True, append_images=FRAMES),
    "WebP of 3 frames": saved(pixels(3), "WEBP", save_all=True, append_images=FRAMES),
    "TIFF of 3 pages": saved(pixels(3), "TIFF", save_all=True, append_images=FRAMES),
}

LABELS = pixels(top=len(CLASSES))
NO_LABELS: dict[str, tuple[bytes, str]] = {
    "JPEG": (saved(LABELS, "JPEG"), "a JPEG changes labels to make its file small"),
    "JPEG of best quality": (saved(LABELS, "JPEG", quality=100), "a JPEG changes labels"),
    "WebP": (saved(LABELS, "WEBP"), "a WEBP changes labels"),
    "JPEG in TIFF": (saved(LABELS, "TIFF", compression="jpeg"), "a TIFF changes labels"),
    "colours": (saved(pixels(3)), "an RGB image"),
    "labels three times": (saved(np.stack([LABELS] * 3, -1)), "an RGB image"),
    "alpha": (saved(pixels(4)), "an image with an alpha"),
    "grey with alpha": (saved(Image.fromarray(LABELS).convert("LA")), "a grey image with an alpha"),
    "16 bits": (saved(LABELS.astype(np.uint16)), "a 16-bit image"),
    "16 bits in TIFF": (saved(LABELS.astype(np.uint16), "TIFF"), "a 16-bit image"),
    "32 bits": (saved(LABELS.astype(np.int32), "TIFF"), "a 32-bit image"),
    "floats": (saved(LABELS.astype(np.float32), "TIFF"), "a floating-point image"),
    "black and white": (saved(Image.fromarray(LABELS > 0)), "a black-and-white image"),
    "4 bits of grey": (png(16, 12, 4, 0, rows_of(4)), "a grey image that is stored as L;4"),
    "2 bits of grey": (png(16, 12, 2, 0, rows_of(2)), "a grey image that is stored as L;2"),
    "white is 0": (tiff(8, 1, 0, LABELS.tobytes()), "a grey image that is stored as L;I"),
    "CMYK": (saved(Image.fromarray(pixels(3)).convert("CMYK"), "TIFF"), "a CMYK image"),
    "more pixels than data": (png(600, 600, 8, 0, rows_of(8)), "this index image cannot be read"),
    **{f"label {label}": (saved(LABELS * 0 + label), f"label {label} is out of range") for label in (3, 4, 100, 254)},
    "one pixel of label 7": (
        saved(np.where(np.arange(192).reshape(SIZE) == 100, 7, LABELS).astype(np.uint8)),
        "label 7 is out of range",
    ),
    **{
        f"orientation {value}": (saved(LABELS, exif=turned(value)), "its EXIF orientation would turn it")
        for value in range(2, 9)
    },
    "orientation 6 in TIFF": (saved(LABELS, "TIFF", exif=turned(6)), "its EXIF orientation would turn it"),
    **{
        f"{width} x {height}": (saved(np.zeros((height, width), np.uint8)), f"{width} x {height} pixels, its image has")
        for width, height in ((15, 12), (16, 13), (12, 16), (32, 24), (1, 1))
    },
}

FOREIGN = (".gif", ".heic", ".jp2", ".npy", ".svg", ".txt", ".exr", ".dng", ".pngx", ".jpg_", ".png~", ".avif")


def contents() -> Iterator[tuple[str, str, bytes, str, str]]:
    """Name of the case, image or index image, the bytes of its file, its ending, what the line says."""
    for suffix, kind in FORMATS.items():
        for name, content in damaged(kind, pixels(3)):
            yield f"{kind} {name}", "image", content, suffix, "this image cannot be read"
    for name, content in damaged("PNG", LABELS):
        yield f"labels {name}", "index image", content, ".png", "this index image cannot be read"
    for name, content in (*NO_IMAGES.items(), *EMPTY.items()):
        yield f"image of {name}", "image", content, ".png", "this image cannot be read"
        yield f"labels of {name}", "index image", content, ".png", "this index image cannot be read"
    for name, content in BOMBS.items():
        yield name, "image", content, ".png", r"this image cannot be read \(Image size .* exceeds limit"
    for name, (content, said) in OTHER_KINDS.items():
        yield f"image of {name}", "image", content, ".png", rf"{said}.*: convert it to 8-bit RGB, or set data\.convert"
    for name, content in NO_RANGE.items():
        yield f"image of {name}", "image", content, ".png", r".*, whose range is not known: convert it to 8-bit RGB$"
    for name, content in PAGES.items():
        yield f"image: {name}", "image", content, ".png", r"this image has \d frames or pages: save one"
    for name, (content, said) in NO_LABELS.items():
        yield f"labels of {name}", "index image", content, ".png", f"{said}.*: (save|make|mend|replace)"


def cases() -> Iterator[tuple[str, Case]]:
    for name, what, content, suffix, said in contents():
        split, of = place(name)
        file = rf"{PARTS[what]}/{of}\{suffix}: "
        yield name, (split, lambda root, w=what, o=of, c=content, s=suffix: put(root, w, o, c, s), file + said)  # type: ignore[misc]
    for what, part in PARTS.items():
        for name, (spoil, said) in PLACES.items():
            split, of = place(f"{what} {name}")
            file = rf"{part}/{of}\.png: this {what} cannot be read \({said}.*: replace it"
            yield f"{what} is {name}", (split, lambda root, p=part, o=of, s=spoil: s(root / f"{p}/{o}.png"), file)  # type: ignore[misc]
        split, of = place(f"no {what}")
        file = rf"{part}/{of}\.png: this {what} is missing: add the file or drop its row"
        yield f"no {what}", (split, lambda root, p=part, o=of: (root / f"{p}/{o}.png").unlink(), file)  # type: ignore[misc]
        for form in ("{} ", "_{}", "{}_mask", "{}(1)"):
            split, of = place(f"{what} {form}")
            file = rf"{part}/{of}\.png: this {what} is missing.*did you mean `{re.escape(form.format(of))}\.png`\?"
            yield (
                f"{what} called {form}",
                (split, lambda root, p=part, o=of, f=form: renamed(root / f"{p}/{o}.png", f.format(o)), file),  # type: ignore[misc]
            )
        for suffix in FOREIGN:
            split, of = place(f"{what} {suffix}")
            file = rf"{part}/{of}{re.escape(suffix)}: its ending is none of \.png.*: convert it"
            yield (
                f"{what} ends in {suffix}",
                (split, lambda root, w=what, o=of, s=suffix: put(root, w, o, b"x", s), file),  # type: ignore[misc]
            )
        for suffix in (".jpg", ".PNG", ".Tif", ".bmp") if what == "image" else (".bmp", ".PNG", ".TIFF"):
            split, of = place(f"{what} twice {suffix}")
            yield (
                f"{what} twice, as png and {suffix}",
                (
                    split,
                    lambda root, p=part, o=of, s=suffix: (root / f"{p}/{o}{s}").write_bytes(b"x"),  # type: ignore[misc]
                    rf"{part}/{of}\.\w+ and {of}\.\w+ have one name: keep the one",
                ),
            )
        for name, spoil in (("file", a_file), ("pipe", a_pipe), ("link to itself", a_loop), ("link to nothing", gone)):
            yield (
                f"{part}/ is a {name}",
                ("target", lambda root, p=part, s=spoil: s(root / p), rf"photos/{part}: .*: (put|add)"),  # type: ignore[misc]
            )
    for suffix in (".jpg", ".JPEG", ".webp", ".ppm"):
        split, of = place(f"labels {suffix}")
        said = rf"regions/{of}\{suffix}: its ending is none of {re.escape(', '.join(LABEL_SUFFIXES))}: convert it"
        yield (
            f"index image ends in {suffix}",
            (split, lambda root, o=of, s=suffix: put(root, "index image", o, saved(LABELS, "JPEG"), s), said),  # type: ignore[misc]
        )


def renamed(path: Path, name: str) -> None:
    path.rename(path.with_stem(name))


def moved(path: Path) -> Path:
    path.rename(path.with_name("unused"))
    return path


def a_file(path: Path) -> None:
    moved(path).write_text("x")


def a_pipe(path: Path) -> None:
    os.mkfifo(moved(path))


def a_loop(path: Path) -> None:
    moved(path).symlink_to(path)


def gone(path: Path) -> None:
    moved(path).symlink_to(path.parent / "gone")


CASES = dict(cases())


@pytest.mark.parametrize("case", CASES)
def test_malformed_image(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    split, spoil, found = CASES[case]
    spoil(root := write_folder(tmp_path / "photos"))
    said = refused(capsys, tmp_path, "store", f"root={root}", f"out={tmp_path / 'new/s.parquet'}", f"split={split}")
    assert re.search(found, said), said
    assert f"{root}/" in said


# Which files are looked at, and when

SCRATCHES: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "an image cut off": ("images", lambda path: path.write_bytes(path.read_bytes()[:-40]), "cannot be read"),
    "a JPEG cut off": ("images", lambda path: path.write_bytes(saved(pixels(3), "JPEG")[:-40]), "cannot be read"),
    "a JPEG without tables": (
        "images",
        lambda path: path.write_bytes(saved(pixels(3), "JPEG").replace(b"\xff\xdb", b"\xff\xec")),
        "cannot be read",
    ),
    "grey": ("images", lambda path: path.write_bytes(saved(pixels())), "a grey image"),
    "a pipe": ("images", pipe, "cannot be read"),
    "no image": ("images", Path.unlink, "is missing"),
    "an index image cut off": ("regions", lambda path: path.write_bytes(path.read_bytes()[:-40]), "cannot be read"),
    "an index image of another size": ("regions", lambda path: path.write_bytes(saved(LABELS[1:])), "make both"),
    "a label out of range": ("regions", lambda path: path.write_bytes(saved(LABELS + 1)), "out of range"),
}


@pytest.mark.parametrize("split", ["train", "val", "test", "target"])
@pytest.mark.parametrize("scratch", SCRATCHES)
def test_malformed_files_of_all_splits_are_seen_before_any_is_trained_on(
    scratch: str, split: str, tmp_path: Path
) -> None:
    part, spoil, said = SCRATCHES[scratch]
    root = write_folder(tmp_path / "photos")
    path = root / part / f"{IDS[SPLITS.index(split)]}.png"
    spoil(path)
    with pytest.raises(InputError, match=rf"{re.escape(str(path))}: .*{said}"):
        FolderData(str(root), SIZE, batch_size=2, labels="masks", targets=0.5).look()


def tree(root: Path) -> Path:
    """torchvision's layout: four splits of two classes."""
    for split in ("train", "val", "test", "target"):
        for kind in ("rose", "daisy"):
            (root / split / kind).mkdir(parents=True)
            for number in range(2):
                (root / split / kind / f"{number}.png").write_bytes(saved(pixels(3)))
    return root


@pytest.mark.parametrize("split", ["train", "val", "test", "target"])
@pytest.mark.parametrize(
    "scratch", [name for name, (part, *_) in SCRATCHES.items() if name != "no image" and part == "images"]
)
def test_malformed_files_of_an_image_folder_too(scratch: str, split: str, tmp_path: Path) -> None:
    _, spoil, said = SCRATCHES[scratch]
    spoil(path := tree(tmp_path / "flowers") / split / "daisy/1.png")
    with pytest.raises(InputError, match=rf"{re.escape(str(path))}: .*{said}"):
        ImageFolderData(str(tmp_path / "flowers"), SIZE, batch_size=2, targets=0.5).look()


def test_malformed_test_image_ends_a_run_before_it_begins(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_folder(tmp_path / "photos")
    path = root / f"images/{IDS[SPLITS.index('test')]}.png"
    path.write_bytes(path.read_bytes()[:-40])
    folder = ("data=folder", "data.labels=masks", f"data.root={root}", "data.batch_size=2")
    import_module("hardmine.cli.build")  # takes long the first time
    said = refused(capsys, root, "train", *folder, f"hydra.run.dir={tmp_path / 'run'}")
    assert f"{path}: this image cannot be read" in said
    assert not (tmp_path / "run").exists()


FOLDERS: dict[str, tuple[Callable[[Path], object], str]] = {
    **{
        f"split called {name}": (lambda root, n=name: (root / "val").rename(root / n), f"did you mean `{meant}`")  # type: ignore[misc]
        for name, meant in (("Val", "val"), ("valid", "val"), ("tset", "test"), ("Target", "target"), ("dev", "val"))
    },
    "no train": (lambda root: (root / "train").rename(root / "unused"), r"flowers/train: no such folder: add it"),
    "train is a file": (lambda root: a_file(root / "train"), r"flowers/train: a file and no folder: add it"),
    "val is a pipe": (lambda root: a_pipe(root / "val"), r"flowers/val: a pipe.*and no folder: add it"),
    "test is a link to nothing": (lambda root: gone(root / "test"), r"flowers/test: a link that leads nowhere: add it"),
    "test is a link to itself": (lambda root: a_loop(root / "test"), r"flowers/test: too many levels.*: add it"),
    "a class of another name": (
        lambda root: (root / "test/rose").rename(root / "test/rosa"),
        r"test/rosa: training images have no such class: add some or rename",
    ),
    "classes that differ in case": (lambda root: (root / "train/Rose").mkdir(), r"flowers/train: .*"),
    "a class without images": (lambda root: (root / "train/tulip").mkdir(), r"flowers/train: .*tulip.*: add images"),
    "a link that leads back": (
        lambda root: (root / "train/rose/again").symlink_to(root),
        r"a link leads to a folder that is there already: remove",
    ),
    **{
        f"a name with {what}": (
            lambda root, n=name: os.rename(root / "train/rose/0.png", os.fsencode(root / "train/rose") + b"/" + n),  # type: ignore[misc]
            r"flowers/train: the name .* has a .*: rename the file",
        )
        for what, name in (("a line break", b"a\nb.png"), ("no UTF-8", b"\xff.png"), ("a bell", b"\x07.png"))
    },
    "endings that are not read": (
        lambda root: [path.rename(path.with_suffix(".gif")) for path in (root / "train/rose").iterdir()],
        r"flowers/train: .*rose.*: add images",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", FOLDERS)
def test_malformed_image_folder(case: str, tmp_path: Path) -> None:
    spoil, found = FOLDERS[case]
    spoil(root := tree(tmp_path / "flowers"))
    with soon(), pytest.raises(InputError, match=found) as caught:
        ImageFolderData(str(root), SIZE, batch_size=2).look()
    assert str(root) in str(caught.value) and "\n" not in str(caught.value)


ROOTS = {
    "no folder": "gone",
    "a line break": "a\nb",
    "a file": "metadata.csv",
    "300 characters": "a" * 300,
    "nothing": "",
}


@pytest.mark.parametrize("case", ROOTS)
def test_malformed_root(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_folder(tmp_path / "photos")
    said = refused(
        capsys, tmp_path, "store", f"root={root / ROOTS[case] if ROOTS[case] else ''}", f"out={tmp_path}/s.parquet"
    )
    assert re.search(r"(no such folder|a file and no folder|too long|metadata\.csv: no such file): ", said), said


# What is taken, and how


def with_orientation(picture: np.ndarray, orientation: int) -> np.ndarray:
    """As a camera writes it that was held so: EXIF says how to make `picture` of it."""
    turns = {
        1: picture,
        2: picture[:, ::-1],
        3: picture[::-1, ::-1],
        4: picture[::-1],
        5: picture.swapaxes(0, 1),
        6: picture.swapaxes(0, 1)[::-1],  # to be turned clockwise by 90 degrees
        7: picture.swapaxes(0, 1)[::-1, ::-1],
        8: picture.swapaxes(0, 1)[:, ::-1],
    }
    return np.ascontiguousarray(turns[orientation])


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_turned_as_exif_says(orientation: int, kind: str, tmp_path: Path) -> None:
    picture = pixels(3).repeat(8, 0).repeat(8, 1)
    more = {"lossless": True} if kind == "WEBP" else {"quality": 95, "subsampling": 0} if kind == "JPEG" else {}
    content = saved(with_orientation(picture, orientation), kind, exif=turned(orientation), **more)
    (path := tmp_path / "photo.png").write_bytes(content)
    image, own = read_image(path)
    assert own == look_at_image(path).size == picture.shape[:2]
    assert look_at_image(path).turned == (orientation > 1)
    found = image.permute(1, 2, 0).numpy()
    assert np.abs(found.astype(int) - picture).mean() < (4 if kind == "JPEG" else 1e-9)


def test_turned_images_are_told_of_and_index_images_must_fit_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = write_folder(tmp_path / "photos")
    flat, upright = root / "images/p03.png", root / "images/p04.png"
    flat.write_bytes(saved(with_orientation(pixels(3), 3), exif=turned(3)))
    FolderData(str(root), SIZE, batch_size=2).look()
    assert [line for line in caplog.messages if "EXIF" in line] == [
        f"hardmine: 1 images are turned as their EXIF orientation says ({flat}): index images and boxes must fit the "
        "turned ones"
    ]
    upright.write_bytes(saved(pixels(3), exif=turned(6)))
    with pytest.raises(InputError, match=r"p04\.png: 16 x 12 pixels, its image has 12 x 16 \(as its EXIF orient"):
        FolderData(str(root), SIZE, batch_size=2).look()


def test_boxes_must_fit_the_turned_image(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "photos")
    write_coco_file(root, coco())
    (root / "images/p02.png").write_bytes(saved(pixels(3), exif=turned(8)))
    with pytest.raises(InputError, match=r"p02\.png: 12 x 16 pixels \(as its EXIF orientation turns it\), annotations"):
        FolderData(str(root), SIZE, batch_size=2).look()


@pytest.mark.parametrize(("profile", "told"), [("sRGB", False), ("XYZ", True), ("LAB", True), (b"broken", True)])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_colour_profiles_that_are_not_srgb_are_told_of(
    kind: str, profile: str | bytes, told: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    if isinstance(profile, str):
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile(profile)).tobytes()  # type: ignore[arg-type]
    root = write_folder(tmp_path / "photos")
    (root / "images/p05.png").write_bytes(saved(pixels(3), kind, icc_profile=profile))
    FolderData(str(root), SIZE, batch_size=2).look()
    assert ["1 images have a colour profile that is not sRGB" in line for line in caplog.messages] == [True] * told


@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_other_kinds_are_converted_on_request(kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What they are is told, and of 16 bits the upper 8 remain."""
    content, said = OTHER_KINDS[kind]
    root = write_folder(tmp_path / "photos")
    (root / "images/p01.png").write_bytes(content)
    data = FolderData(str(root), SIZE, batch_size=2, flip=False, convert=True)
    data.look()
    assert any(line.startswith(f"hardmine: data.convert=true: made 8-bit RGB of {said}") for line in caplog.messages)
    image = data.split("train")[1]["image"]
    assert image.shape == (3, *SIZE) and image.dtype == torch.uint8
    assert image.float().std() > 1


def test_the_upper_bits_of_16_remain_and_alpha_goes(tmp_path: Path) -> None:
    deep, clear = pixels(top=2**16, kind=np.uint16), pixels(4)
    raw = deep.astype(">u2").tobytes()
    for content in (saved(deep), saved(deep, "TIFF"), b"P5 16 12 65535\n" + raw):
        (path := tmp_path / "deep.png").write_bytes(content)
        assert np.array_equal(read_image(path, convert=True)[0].numpy(), np.stack([deep >> 8] * 3))
    path.write_bytes(saved(clear))
    assert np.array_equal(read_image(path, convert=True)[0].permute(1, 2, 0).numpy(), clear[..., :3])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_endings_are_read_in_any_case(suffix: str, tmp_path: Path) -> None:
    kind = {".jpg": "JPEG", ".jpeg": "JPEG", ".tif": "TIFF", ".tiff": "TIFF", ".ppm": "PPM", ".pgm": "PPM"}.get(
        suffix, suffix[1:].upper()
    )
    root = write_folder(tmp_path / "photos")
    for name, ending in zip(IDS, (suffix, suffix.upper(), suffix.title()), strict=False):
        put(root, "image", name, saved(pixels(3), kind), ending)
        if suffix in LABEL_SUFFIXES:
            put(root, "index image", name, saved(LABELS, kind), ending)
    data = FolderData(str(root), SIZE, batch_size=2, flip=False, labels="masks")
    data.look()
    samples = [data.split("train")[index] for index in range(3)]
    assert all(
        np.abs(sample["image"].permute(1, 2, 0).numpy() - pixels(3).astype(int)).mean() < 60 for sample in samples
    )
    if suffix in LABEL_SUFFIXES:
        assert all(np.array_equal(sample["target"], LABELS) for sample in samples)


def masks(root: Path, labels: np.ndarray) -> Path:
    """A folder of two areas in which all index images are the same."""
    write_folder(root)
    for name in IDS:
        Image.fromarray(labels.astype(np.uint8)).save(root / f"regions/{name}.png")
    (root / "classes.csv").write_text("index,name\n0,ground\n1,water\n")
    return root


def test_masks_of_0_and_255_are_told_of_with_the_remedy(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = masks(tmp_path / "photos", (LABELS > 0) * 255)
    said = f"{root}/regions: the only label of all index images is 0 and 255, which is void: set data.void=null if 255"
    plain = FolderData(str(root), SIZE, batch_size=2, labels="masks", flip=False)
    plain.look()
    assert said in caplog.text and sorted(set(plain.split("val")[0]["target"].flatten().tolist())) == [0, 255]
    caplog.clear()
    taken = FolderData(str(root), SIZE, batch_size=2, labels="masks", flip=False, void=None)
    taken.look()
    assert not caplog.messages
    assert np.array_equal(taken.split("val")[0]["target"], (LABELS > 0) * 1)


@pytest.mark.parametrize("argument", ["void=0", "void=none", "convert=yes", "convert=1"])
def test_malformed_arguments_of_store(argument: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_folder(tmp_path / "photos")
    said = refused(capsys, tmp_path, "store", f"root={root}", f"out={tmp_path / 's.parquet'}", argument)
    assert re.search(rf"store: {argument} is unknown: take (255 or null|true or false)$", said)


@pytest.mark.parametrize("void", [0, 1, 254, 256, "null"])
def test_malformed_void(void: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data|void") as caught:
        FolderData(str(write_folder(tmp_path / "photos")), SIZE, void=void)
    assert caught.value.keyed == f"data.void must be 255 or null, got {void!r}"


def test_void_null_of_three_areas_leaves_no_255(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "photos")
    (root / "regions/p00.png").write_bytes(saved(LABELS // 2 * 255))
    FolderData(str(root), SIZE, batch_size=2, labels="masks").look()
    with pytest.raises(InputError, match=r"label 255 is out of range.* with data\.void=null 255 is none: mend"):
        FolderData(str(root), SIZE, batch_size=2, labels="masks", void=None).look()


ACCEPTED: dict[str, tuple[Spoil, str]] = {
    "a JPEG that is called png": (
        lambda root: put(root, "image", "p01", saved(pixels(3), "JPEG")),
        "what a file holds says its format, and its pixels are the same",
    ),
    "a PNG that is called jpg": (lambda root: put(root, "image", "p01", saved(pixels(3)), ".jpg"), "likewise"),
    "a picture of a phone with a second one in it": (
        lambda root: put(root, "image", "p01", saved(pixels(3), "MPO", save_all=True, append_images=FRAMES), ".jpg"),
        "viewers show the first one, the others are previews or depth",
    ),
    "an image in steps": (
        lambda root: put(root, "image", "p01", saved(pixels(3), "JPEG", progressive=True), ".jpg"),
        "its pixels come in another order",
    ),
    "an EXIF orientation that says nothing": (
        lambda root: put(root, "image", "p01", saved(pixels(3), exif=turned(0))),
        "cameras without a sensor write it",
    ),
    "an index image that EXIF does not turn": (
        lambda root: put(root, "index image", "p01", saved(LABELS, exif=turned(1))),
        "labels are where they are",
    ),
    "index images with a palette": (
        lambda root: put(root, "index image", "p01", saved(palette(8))),
        "the index is the label, colours are for people",
    ),
    "index images with a palette of 4 bits": (
        lambda root: put(root, "index image", "p01", saved(palette(4), bits=4)),
        "likewise",
    ),
    "an image of its own size": (
        lambda root: (
            put(root, "image", "p01", saved(np.zeros((30, 50, 3), np.uint8))),
            put(root, "index image", "p01", saved(np.zeros((30, 50), np.uint8))),
        ),
        "all are resized to data.size",
    ),
    "files that no row names": (
        lambda root: (root / "images/notes.txt").write_text("x"),
        "a folder may be a part of another data set",
    ),
    "links to files": (
        lambda root: (
            (root / "images/p01.png").rename(root / "elsewhere.png"),
            (root / "images/p01.png").symlink_to(root / "elsewhere.png"),
        ),
        "they lead to images",
    ),
    "a folder that is a link": (
        lambda root: ((root / "images").rename(root / "far"), (root / "images").symlink_to(root / "far")),
        "it leads to a folder",
    ),
    "void alone on one image": (
        lambda root: put(root, "index image", "p01", saved(LABELS * 0 + 255)),
        "nobody has labelled it yet",
    ),
}


def palette(bits: int) -> Image.Image:
    image = Image.fromarray(LABELS).convert("P")
    image.putpalette(rng("palette").randbytes(3 * 2**bits))
    return image


@pytest.mark.parametrize("case", ACCEPTED)
def test_accepted_image(case: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ACCEPTED[case][0](root := write_folder(tmp_path / "photos"))
    data = FolderData(str(root), SIZE, batch_size=2, labels="masks", flip=False)
    data.look()
    sample = data.split("train")[1]
    assert sample["image"].shape == (3, *SIZE) and sample["target"].shape == SIZE
    if "palette" in case or ("EXIF" in case and "index" in case):
        assert np.array_equal(sample["target"], LABELS)
    assert not caplog.messages


def test_a_folder_that_may_be_meant_as_regions_is_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (root := write_folder(tmp_path / "photos")).joinpath("regions").rename(root / "Region")
    FolderData(str(root), SIZE, batch_size=2).look()
    assert caplog.messages == [
        f"hardmine: {root}: no folder is called regions, each image is one area (did you mean `Region`?)"
    ]
    with pytest.raises(InputError, match=r"regions: no such folder: .*did you mean `Region`"):
        FolderData(str(root), SIZE, labels="masks")
