"""The CPU's way: each pixel is read once as uint8 and written once as uint8, and what lies between stays in the cache.

Compiled by Numba, which needs no compiler on the user's machine; machine code is kept beside the source, or in the
user's cache. Lab is a linear map of CIE's f(X), f(Y), f(Z), and so is the affine map of a region: both are made in f.
Pixels are taken in blocks, and inside of these in runs of one region, so that the cost is that of pixels and not of
regions. Loops go from 0 over slices: where Numba cannot tell that an index is not negative, it looks at each, and no
loop is made of vector instructions.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numba import njit, types
from numba.extending import intrinsic
from numpy.typing import NDArray
from torch import Tensor

from hardmine.kernels.color import KNEE, LEVELS, SLOPE, Colors, decoding, encoding, matrices
from hardmine.kernels.compiled import compiled
from hardmine.kernels.places import places
from hardmine.kernels.transfer import Table
from hardmine.records import Distribution

__all__ = ["convert", "measure", "warp"]

_BLOCK = 512  # pixels whose colours lie in the first cache
_SHARE = 1 << 16  # pixels that a thread takes at a time
Values = NDArray[Any]
_Function = TypeVar("_Function", bound=Callable[..., Any])
_KNEE, _SLOPE, _FOOT = np.float32(KNEE), np.float32(SLOPE), np.float32(KNEE ** (1 / 3))
_UNSLOPE, _THIRD, _ZERO, _TOP = np.float32(1 / SLOPE), np.float32(1 / 3), np.float32(0), np.float32(LEVELS - 1)


def _inlined(function: _Function) -> _Function:
    return njit(inline="always")(function)  # type: ignore[no-any-return]


@intrinsic  # type: ignore[untyped-decorator]
def _bits(context: Any, value: Any) -> Any:
    """The bits of a float32 as an int32."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.bitcast(values[0], context.get_value_type(types.int32))

    return types.int32(types.float32), code


@intrinsic  # type: ignore[untyped-decorator]
def _float(context: Any, value: Any) -> Any:
    """The float32 of the bits of an int32."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.bitcast(values[0], context.get_value_type(types.float32))

    return types.float32(types.int32), code


@_inlined
def _f(t: Any) -> Any:
    """CIE's f. Its cube root is a guess by the exponent and two of Halley's steps, which leave 2e-7 of it."""
    above, below = max(t, _KNEE), min(t, _KNEE)
    root = _float(np.int32(np.float32(_bits(above)) * _THIRD) + np.int32(709921077))
    for _ in range(2):
        cube = root * root * root
        root = root * (cube + above + above) / (cube + cube + above)
    return root + _SLOPE * (below - _KNEE)


@_inlined
def _inverse(f: Any) -> Any:
    above, below = max(f, _FOOT), min(f, _FOOT)
    return above * above * above + (below - _FOOT) * _UNSLOPE


@_inlined
def _copy(of: Any, to: Any) -> None:
    """As `to[: len(of)] = of`, which is not made of vector instructions."""
    for p in range(len(of)):
        to[p] = of[p]


@_inlined
def _decode(pixels: Any, start: int, n: int, light: Any, xyz: Any, f: Any) -> None:
    """f (3, n) of n pixels (3, P) uint8 from `start` on."""
    for c in range(3):
        levels, to = pixels[c, start : start + n], f[c]
        for p in range(n):
            to[p] = light[levels[p]]
    for p in range(n):
        r, g, b = f[0, p], f[1, p], f[2, p]
        f[0, p] = _f(xyz[0, 0] * r + xyz[0, 1] * g + xyz[0, 2] * b)
        f[1, p] = _f(xyz[1, 0] * r + xyz[1, 1] * g + xyz[1, 2] * b)
        f[2, p] = _f(xyz[2, 0] * r + xyz[2, 1] * g + xyz[2, 2] * b)


@_inlined
def _end(labels: Any, place: int, end: int) -> int:
    """Where the run of one region ends that begins at `place`."""
    label, rest, length = labels[place], labels[place:end], 1
    while length < len(rest) and rest[length] == label:
        length += 1
    return place + length


@compiled("reassoc", "nsz")
def _measure(
    image: Any, regions: Any, lab: bool, light: Any, xyz: Any, first: int, last: int, count: Any, mean: Any, square: Any
) -> None:
    """Count, mean and sum of squared differences from it, (256,) and (256, 3) float64, of pixels `first` to `last` - 1.

    Runs are summed around their own first pixel and joined by their means (Chan, Golub and LeVeque 1983), so that
    float32 is exact enough.
    """
    value = np.empty((3, _BLOCK), np.float32)
    for start in range(first, last, _BLOCK):
        n = min(_BLOCK, last - start)
        if lab:
            _decode(image, start, n, light, xyz, value)
            for p in range(n):
                x, y, z = value[0, p], value[1, p], value[2, p]
                value[0, p] = np.float32(116) * y - np.float32(16)
                value[1, p] = np.float32(500) * (x - y)
                value[2, p] = np.float32(200) * (y - z)
        else:
            for c in range(3):
                _copy(image[c, start : start + n], value[c])
        place = start
        while place < start + n:
            end = _end(regions, place, start + n)
            label, length = regions[place], end - place
            before = count[label]
            count[label] = before + length
            for c in range(3):
                run = value[c, place - start : end - start]
                center = run[0]
                total, squares = np.float32(0), np.float32(0)
                for p in range(length):
                    apart = run[p] - center
                    total += apart
                    squares += apart * apart
                away = np.float64(total) / length
                apart_means = np.float64(center) + away - mean[label, c]
                mean[label, c] += apart_means * length / (before + length)
                square[label, c] += (
                    np.float64(squares) - away * total + apart_means * apart_means * before * length / (before + length)
                )
            place = end


@compiled()
def _convert_lab(
    image: Any,
    regions: Any,
    rows: Any,
    chosen: Any,
    maps: Any,
    first: int,
    last: int,
    made: Any,
    light: Any,
    xyz: Any,
    rgb: Any,
    levels: Any,
) -> None:
    """Pixels `first` to `last` - 1 of one source in all of its rows."""
    f, step = np.empty((3, _BLOCK), np.float32), np.empty((3, _BLOCK), np.uint16)
    for start in range(first, last, _BLOCK):
        n = min(_BLOCK, last - start)
        _decode(image, start, n, light, xyz, f)
        place = start
        while place < start + n:
            end = _end(regions, place, start + n)
            label, length = regions[place], end - place
            run, steps = f[:, place - start : end - start], step[:, place - start : end - start]
            for row in rows:
                if label < chosen.shape[1] and chosen[row, label]:
                    m = maps[row, label]
                    for p in range(length):
                        x, y, z = run[0, p], run[1, p], run[2, p]
                        tx = _inverse(m[0, 0] * x + m[0, 1] * y + m[0, 2] * z + m[0, 3])
                        ty = _inverse(m[1, 0] * x + m[1, 1] * y + m[1, 2] * z + m[1, 3])
                        # as kornia and scikit-image do with large b*
                        tz = _inverse(max(m[2, 0] * x + m[2, 1] * y + m[2, 2] * z + m[2, 3], _ZERO))
                        for c in range(3):
                            linear = rgb[c, 0] * tx + rgb[c, 1] * ty + rgb[c, 2] * tz
                            steps[c, p] = np.uint16(np.int32(min(max(linear, _ZERO), _TOP)))
                    for c in range(3):
                        of, to = steps[c], made[row, c, place:end]
                        for p in range(length):
                            to[p] = levels[of[p]]
                else:
                    for c in range(3):
                        _copy(image[c, place:end], made[row, c, place:end])
            place = end


@compiled()
def _convert_rgb(
    image: Any, regions: Any, rows: Any, chosen: Any, gain: Any, offset: Any, first: int, last: int, made: Any
) -> None:
    for row in rows:
        place = first
        while place < last:
            end = _end(regions, place, last)
            label = regions[place]
            moves = label < chosen.shape[1] and chosen[row, label]
            for c in range(3):
                run, to = image[c, place:end], made[row, c, place:end]
                if moves:
                    by, plus = gain[row, label, c], offset[row, label, c]
                    for p in range(end - place):
                        level = np.float32(run[p]) * by + plus
                        to[p] = np.uint8(np.rint(min(max(level, _ZERO), np.float32(255))))
                else:
                    _copy(run, to)
            place = end


def measure(image: Tensor, regions: Tensor, areas: int, colors: Colors) -> Distribution:
    """See `hardmine.kernels.measure`; the images fill their frame."""
    pixels, labels = image.flatten(2).contiguous().numpy(), regions.flatten(1).contiguous().numpy()
    shares = -(-labels.shape[1] // _SHARE)
    count = np.zeros((len(labels), shares, 256))
    mean, square = np.zeros((2, *count.shape, 3))

    def work(source: int, share: int, first: int, last: int) -> None:
        of = (count[source, share], mean[source, share], square[source, share])
        _measure(pixels[source], labels[source], colors == "lab", *_tables()[:2], first, last, *of)

    _divide(work, *labels.shape)
    regional = _joined(count, mean, square)
    whole = _joined(*(values[:, :, None] for values in regional))
    number, center, squares = (
        torch.from_numpy(np.concatenate([part[:, :areas], every], axis=1))
        for part, every in zip(regional, whole, strict=True)
    )
    std = (squares / number.clamp(min=1)[..., None]).sqrt()
    return Distribution(mean=center.float(), std=std.float(), count=number.long())


def convert(image: Tensor, regions: Tensor, table: Table, colors: Colors) -> Tensor:
    """See `hardmine.kernels.convert`."""
    pixels, labels = image.flatten(2).contiguous().numpy(), regions.flatten(1).contiguous().numpy()
    made = torch.empty(len(table), *pixels.shape[1:], dtype=torch.uint8)
    rows = table.source.argsort(stable=True)
    of = np.split(rows.numpy(), table.source[rows].bincount(minlength=len(image)).cumsum(0).numpy()[:-1])
    chosen = table.chosen[:, :-1].numpy()
    to = made.numpy()
    maps = _in_f(table.gain.double(), table.offset.double()).float().contiguous().numpy()
    gain, offset = table.gain.numpy(), table.offset.numpy()

    def work(source: int, share: int, first: int, last: int) -> None:
        if colors == "lab":
            where = (pixels[source], labels[source], of[source], chosen, maps, first, last, to)
            _convert_lab(*where, *_tables())
        else:
            _convert_rgb(pixels[source], labels[source], of[source], chosen, gain, offset, first, last, to)

    _divide(work, *labels.shape)
    return made.view(-1, *image.shape[1:])


def warp(pixels: Tensor, labels: Tensor, origin: Tensor, beyond: str) -> tuple[Tensor, Tensor]:
    """See `hardmine.kernels.warp`; one grid for both."""
    grid = torch.stack(places(origin, *pixels.shape[2:]), dim=-1)
    moved = F.grid_sample(pixels, grid, "bilinear", beyond, align_corners=False)
    return moved, F.grid_sample(labels, grid, "nearest", beyond, align_corners=False)


@cache
def _tables() -> tuple[Values, Values, Values, Values]:
    """Light of each level, linear RGB to XYZ, back in steps of light, and the level of each step."""
    to, back = matrices()
    levels = encoding(torch.device("cpu"))
    return decoding().float().numpy(), to.float().numpy(), (back * LEVELS).float().numpy(), levels.numpy()


def _in_f(gain: Tensor, offset: Tensor) -> Tensor:
    """(N, R, 3, 4) float64, affine maps of f(X), f(Y), f(Z) that are those of L*, a*, b*; L* = 116 f(Y) - 16,
    a* = 500 (f(X) - f(Y)), b* = 200 (f(Y) - f(Z))."""
    (light, red, blue), (l_off, a_off, b_off) = gain.unbind(-1), offset.unbind(-1)
    none = torch.zeros_like(light)
    y = (l_off + 16 - 16 * light) / 116
    rows = (
        (red, light - red, none, y + a_off / 500),
        (none, light, none, y),
        (none, light - blue, blue, y - b_off / 200),
    )
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def _joined(count: Values, mean: Values, square: Values) -> tuple[Values, Values, Values]:
    """Count, mean and squares of what lies along the second axis, together."""
    total = count.sum(1)
    center = (count[..., None] * mean).sum(1) / np.maximum(total, 1)[..., None]
    apart = mean - center[:, None]
    return total, center, (square + count[..., None] * apart * apart).sum(1)


def _divide(work: Callable[[int, int, int, int], None], images: int, pixels: int) -> None:
    """Pixels in equal shares, whatever the number of threads: image, number, first pixel and the one after the last."""
    shares = [
        (image, number, first, min(first + _SHARE, pixels))
        for image in range(images)
        for number, first in enumerate(range(0, pixels, _SHARE))
    ]
    threads = min(torch.get_num_threads(), len(shares))
    if threads < 2:
        for share in shares:
            work(*share)
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda share: work(*share), shares))
