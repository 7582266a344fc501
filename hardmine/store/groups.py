"""Lists of targets, as the cells of the environment table are, in which a large store is searched."""

import torch
from torch import Tensor


class Groups:
    """Targets by group; one may be in several.

    Args:
        group: (K,) int64.
        target: (K,) int64, the member.
        groups: G.
    """

    def __init__(self, group: Tensor, target: Tensor, groups: int) -> None:
        self.member = target[group.argsort(stable=True)]
        self.count = group.bincount(minlength=groups)
        self.start = self.count.cumsum(0) - self.count

    def of(self, linked: Tensor) -> "Linked":
        """The targets of each query, of whose groups `linked` (Q, G) bool tells."""
        return Linked(self, linked)


class Linked:
    """A pool of the targets in groups, see `Pool`."""

    def __init__(self, groups: Groups, linked: Tensor) -> None:
        self.groups, self.linked = groups, linked

    def some(self, query: Tensor, tries: int, generator: torch.Generator) -> Tensor:
        """See `Pool`; of a query without any, all sorts."""
        groups = self.groups
        end = (self.linked[query] * groups.count).cumsum(1)  # (n, G)
        drawn = torch.rand(len(query), tries, generator=generator, dtype=torch.float64)
        place = (drawn * end[:, -1:]).long()
        group = torch.searchsorted(end, place, right=True).clamp(max=end.shape[1] - 1)
        inside = place - end.gather(1, group) + groups.count[group]
        return groups.member[(groups.start[group] + inside).clamp(0, len(groups.member) - 1)]

    def listed(self, query: Tensor, most: int) -> tuple[Tensor, Tensor, Tensor]:
        """See `Pool`."""
        groups = self.groups
        linked = self.linked[query]
        more = (linked * groups.count).sum(1) > most
        row, group = (linked & ~more[:, None]).nonzero(as_tuple=True)
        count = groups.count[group]
        inside = torch.arange(int(count.sum())) - (count.cumsum(0) - count).repeat_interleave(count)
        target = groups.member[groups.start[group].repeat_interleave(count) + inside]
        return query[row].repeat_interleave(count), target, more
