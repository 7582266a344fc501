"""The processes of a run: what each has found, told to all. The only torch.distributed of mining."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, distributed, nn

from hardmine.records import Distribution

Rows = Mapping[str, Tensor]
_HEAD = 16  # bytes: two numbers of rows


class Ranks:
    """This process among those of its run.

    Attributes:
        rank, count: which of how many.
    """

    def __init__(self) -> None:
        together = distributed.is_available() and distributed.is_initialized()
        self.rank = distributed.get_rank() if together else 0
        self.count = distributed.get_world_size() if together else 1
        self._room: int | None = None  # rows that each rank may tell of in a step

    def room(self, rows: int, device: torch.device) -> int:
        """How many rows a rank may tell of: those of the largest first batch."""
        if self._room is None:
            room = torch.tensor([rows], device=device)
            distributed.all_reduce(room, distributed.ReduceOp.MAX)
            self._room = int(room)
        return self._room

    def reserve(self, rows: int) -> None:
        """Agree on the room of `room` beforehand; alike on all ranks."""
        self._room = rows

    def tell(self, rows: Rows, scores: Tensor, numbers: Tensor) -> "Told":
        """Begin to tell all ranks; nothing waits for it.

        Args:
            rows: tensors of N rows on the CPU.
            scores: (N, K) float32 on the device of the model.
            numbers: (n,) int64 on the CPU.
        """
        if self.count == 1:
            return Told([(rows, numbers)], scores)
        room = self.room(max(len(scores), len(numbers), 1), scores.device)
        return _Everyone(rows, scores, numbers, room, self.count)

    def buffers(self, module: nn.Module) -> dict[str, Tensor]:
        """The first rank's buffers of floating point, by name; none where there is one rank.

        Each rank has BatchNorm's statistics of its own images, and a checkpoint those of the first.
        """
        if self.count == 1:
            return {}
        own = {name: value for name, value in module.named_buffers() if value.is_floating_point() and value.numel()}
        if not own:
            return {}
        together = torch.cat([value.detach().flatten().float() for value in own.values()])
        distributed.broadcast(together, 0)
        parts = torch.split(together, [value.numel() for value in own.values()])
        return {name: part.view_as(own[name]).to(own[name].dtype) for name, part in zip(own, parts, strict=True)}

    def first(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """The tensors of the first rank; others differ in what each keeps on its own, as BatchNorm's statistics."""
        if self.count == 1:
            return tensors
        same = {name: value.detach().clone() for name, value in tensors.items()}
        for value in same.values():
            distributed.broadcast(value, 0)
        return same

    def total(self, distribution: Distribution, device: torch.device) -> Distribution:
        """The distribution of the pixels of all ranks."""
        if self.count == 1:
            return distribution
        moments = _moments(distribution).to(device)
        distributed.all_reduce(moments)
        return _distribution(moments.cpu())


class Told:
    """What was told by all ranks, once it has reached the CPU.

    Args:
        parts: of each rank, in their order.
        scores: of all of them, on any device.
    """

    def __init__(self, parts: list[tuple[Rows, Tensor]], scores: Tensor) -> None:
        self._parts = parts
        self._scores, self._copied = _to_cpu(scores)

    def read(self) -> tuple[list[Rows], Tensor, Tensor]:
        """Rows of each rank, scores (all rows, K), and the numbers, in the order of the ranks."""
        if self._copied is not None:
            self._copied.synchronize()  # of the copy alone: the training step queued behind it goes on
        return [rows for rows, _ in self._parts], self._scores, torch.cat([numbers for _, numbers in self._parts])


class _Everyone(Told):
    """Rows, scores and numbers as bytes of one length on every rank, gathered in one go."""

    def __init__(self, rows: Rows, scores: Tensor, numbers: Tensor, room: int, ranks: int) -> None:
        n, self._like, self._width, self._room = min(len(scores), room), rows, scores.shape[1], room
        device = scores.device
        told = numbers[:room]
        head = torch.tensor([n, len(told)]).view(torch.uint8)
        body = torch.cat([_bytes(value[:n]) for value in rows.values()], dim=1) if n else head.new_empty(0, self._bytes)
        fixed = head.new_zeros(_HEAD + 8 * room + room * self._bytes)
        fixed[:_HEAD] = head
        fixed[_HEAD : _HEAD + 8 * len(told)] = told.contiguous().view(torch.uint8)
        fixed[_HEAD + 8 * room :].view(room, self._bytes)[:n] = body
        judged = scores.new_zeros(room, self._width, dtype=torch.float32)
        judged[:n] = scores[:n]
        message = torch.cat([fixed.to(device, non_blocking=True), judged.flatten().view(torch.uint8)])
        everyone = message.new_empty(ranks * len(message))
        distributed.all_gather_into_tensor(everyone, message)
        self._everyone, self._copied = _to_cpu(everyone.view(ranks, -1))

    @property
    def _bytes(self) -> int:
        """Of one row."""
        return sum(
            value[0].numel() * value.element_size() if len(value) else _size(value) for value in self._like.values()
        )

    def read(self) -> tuple[list[Rows], Tensor, Tensor]:
        if self._copied is not None:
            self._copied.synchronize()
        parts, scores, numbers = [], [], []
        for message in self._everyone:
            n, told = message[:_HEAD].clone().view(torch.int64).tolist()  # a copy begins where such numbers may
            numbers.append(message[_HEAD : _HEAD + 8 * told].clone().view(torch.int64))
            body = message[_HEAD + 8 * self._room :]
            rows = body[: self._room * self._bytes].view(self._room, self._bytes)[:n]
            parts.append(_unpacked(rows, self._like))
            judged = body[self._room * self._bytes :].clone().view(torch.float32)
            scores.append(judged.view(self._room, self._width)[:n])
        return parts, torch.cat(scores), torch.cat(numbers)


def _size(value: Tensor) -> int:
    return int(torch.tensor(value.shape[1:]).prod()) * value.element_size() if value.ndim > 1 else value.element_size()


def _bytes(value: Tensor) -> Tensor:
    """(N, bytes of a row) uint8."""
    return value.clone(memory_format=torch.contiguous_format).view(len(value), -1).view(torch.uint8)


def _unpacked(rows: Tensor, like: Rows) -> Rows:
    made: dict[str, Tensor] = {}
    start = 0
    for name, value in like.items():
        size = _size(value)
        part = rows[:, start : start + size].clone(memory_format=torch.contiguous_format)
        made[name] = part.view(value.dtype).view(len(rows), *value.shape[1:])
        start += size
    return made


def _to_cpu(values: Tensor) -> tuple[Tensor, Any]:
    """The values on their way to the CPU, and what tells when they have come."""
    if not values.is_cuda:
        return values.cpu(), None
    pinned = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    pinned.copy_(values, non_blocking=True)
    copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
    copied.record()
    return pinned, copied


def _moments(distribution: Distribution) -> Tensor:
    """(7, n, R) float64: pixels, sums, sums of squares."""
    count, mean, std = distribution.count.double(), distribution.mean.double(), distribution.std.double()
    squares = std.square() + mean.square()
    return torch.cat(
        [count[None], (count[..., None] * mean).movedim(-1, 0), (count[..., None] * squares).movedim(-1, 0)]
    )


def _distribution(moments: Tensor) -> Distribution:
    count = moments[0]
    total = count.clamp(min=1)
    mean = moments[1:4] / total
    std = (moments[4:7] / total - mean.square()).clamp(min=0).sqrt()
    return Distribution(mean.movedim(0, -1).float(), std.movedim(0, -1).float(), count.long())


def pooled(parts: list[Distribution]) -> Distribution:
    """One row: the distribution of the pixels of all rows of all parts."""
    moments = sum(_moments(part).sum(1, keepdim=True) for part in parts)
    assert isinstance(moments, Tensor)
    return _distribution(moments)
