"""The parameter store: parameters of every region, for colours those of target images without their pixels (R4-R9)."""

import hashlib
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self
from urllib.parse import unquote

import torch
from torch import Tensor

from hardmine.arguments import look_at_number
from hardmine.errors import InputError
from hardmine.kernels import measure
from hardmine.names import did_you_mean, near
from hardmine.records import VOID, Distribution, Recipe
from hardmine.scenes import Scenes
from hardmine.space import COLORS, LAB, Space
from hardmine.store.database import is_url
from hardmine.store.file import read_store, write_store

if TYPE_CHECKING:
    from hardmine.data.layout import Layout

WHOLE_IMAGE = "whole image"  # name of the one area where no regions are known
_log = logging.getLogger("hardmine")


class Reader(Protocol):
    """What reads batches, as `View` does."""

    told: list[str]  # lines on what was found and taken

    def unread(self) -> "Reader":
        """One that has seen no batch."""
        ...

    def read(self, batch: Any, areas: Sequence[str] | None) -> Scenes:
        """The images of a batch with their regions; the areas' names in label order, or None for the whole image."""
        ...

    def names(self, areas: Sequence[str] | None) -> tuple[str, ...]:
        """Names of the areas by the labels of the regions, once a batch has been read."""
        ...


class ParameterStore:
    """M targets with a parameter for every region, and the environment each was taken in.

    Args:
        parameters: (M, R, D) float32, a parameter of each target and region (the areas and, last, the whole image); of
            colours mean and population standard deviation.
        count: (M, R) int64, pixels a point was measured on; 0 where the target lacks the area.
        areas: names of the A areas, in label order.
        ids: M names of the targets.
        environment: for each component (time, weather, ...) the M values.
        space: what the D numbers are.
        min_pixels: an area with fewer pixels in a target counts as missing there.
        missing: what an area gets whose target lacks it: `keep` leaves the source as it is, `whole` takes the
            whole image's distribution.
        images, index_images: for each of the M targets where its image and its index image are (R4), a path or a URL;
            None where that is not known. Nothing but pictures needs them.

    Raises:
        InputError: no target, no area with enough pixels, or references of another number of targets.
    """

    def __init__(
        self,
        parameters: Tensor,
        count: Tensor,
        areas: Sequence[str],
        ids: Sequence[str],
        environment: Mapping[str, Sequence[str]] | None = None,
        space: Space = LAB,
        min_pixels: int = 20,
        missing: Literal["keep", "whole"] = "keep",
        images: Sequence[str | None] | None = None,
        index_images: Sequence[str | None] | None = None,
    ) -> None:
        self.parameters, self.count, self.space = parameters, count, space
        self.areas = tuple(areas)
        self.ids = tuple(ids)
        self.environment = {name: tuple(values) for name, values in (environment or {}).items()}
        look_at_number("store.min_pixels", min_pixels, 0, inf, "pixels", whole=True)
        self.min_pixels = min_pixels
        self.missing = missing
        self.images, self.index_images = (
            tuple([None] * len(self.ids) if given is None else given) for given in (images, index_images)
        )
        for name in ("images", "index_images"):
            if len(getattr(self, name)) != len(self.ids):
                raise InputError(
                    f"{name}: {len(getattr(self, name))} references to {len(self.ids)} targets: give each one"
                )
        if not len(parameters):
            raise InputError("the parameter store is empty: give it at least one labelled target image")
        self.valid = count >= min_pixels  # (M, R) bool
        if not self.valid[:, :-1].any():
            raise InputError(
                f"no area of the parameter store has {min_pixels} pixels or more: lower `min_pixels`", "store"
            )
        invalid = ~self.valid[..., None]
        self.lowest = parameters.masked_fill(invalid, torch.inf).amin(dim=0)  # (R, D) of the valid points
        self.highest = parameters.masked_fill(invalid, -torch.inf).amax(dim=0)

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        environments = len({*zip(*self.environment.values(), strict=True)})
        return (
            f"ParameterStore({len(self)} targets, {len(self.areas)} areas: {', '.join(self.areas)}; "
            f"{environments} environments; {', '.join(self.space.names)})"
        )

    @property
    def regions(self) -> int:
        """R."""
        return len(self.areas) + 1

    @cached_property
    def offered(self) -> Tensor:
        """(M, R) bool: the regions that a target has something for; the whole image's, where `missing` says so."""
        return self.valid | self.valid[:, -1:] if self.missing == "whole" else self.valid

    @cached_property
    def offers(self) -> Tensor:
        """(R,) bool: the regions that any target has something for."""
        return self.offered.any(0)

    @cached_property
    def points(self) -> Tensor:
        """(M, R, D) float32: what a region gets that takes a target, where it is `offered`."""
        if self.missing == "keep":
            return self.parameters
        return torch.where(self.valid[..., None], self.parameters, self.parameters[:, -1:])

    @cached_property
    def mark(self) -> str:
        """Alike for stores with the same targets, areas and parameters."""
        digest = hashlib.blake2b(digest_size=16)
        for part in (self.ids, self.areas, self.space.axes, self.missing):
            digest.update(repr(part).encode())
        for tensor in (self.parameters, self.valid):
            digest.update(tensor.contiguous().numpy().tobytes())
        return digest.hexdigest()

    @property
    def lacking(self) -> list[str]:
        """Areas that no target has a parameter for, so that they are never converted."""
        if self.missing == "whole":
            return []
        return [name for name, there in zip(self.areas, self.valid[:, :-1].any(0).tolist(), strict=True) if not there]

    def of_targets(self, target: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Parameters of stored targets for the chosen regions.

        Args:
            target: (N, R) int64 rows of the store; negative where none is wanted.
            chosen: (N, R) bool.

        Returns:
            chosen (N, R) without the areas the target lacks, point (N, R, D), target (N, R) int32, as a `Recipe`
            holds them.
        """
        row, region = target.clamp(min=0).long(), torch.arange(self.regions)
        chosen = chosen & (target >= 0) & self.offered[row, region]
        parameter = self.points[row, region]
        parameter = torch.where(chosen[..., None], parameter, torch.zeros(()))
        return chosen, parameter, torch.where(chosen, target, -1).int()

    def recipe(self, rows: Recipe, target: Tensor, chosen: Tensor) -> Recipe:
        """`rows` with the parameters of stored targets, see `of_targets`."""
        chosen, parameter, target = self.of_targets(target, chosen)
        return rows.replace(chosen=chosen, parameter=parameter, target=target)

    def pooled(self) -> Distribution:
        """Distribution of each region's pixels in all targets that have it, 1 row; for stores of colours."""
        count = (self.count * self.valid)[..., None].double()
        total = count.sum(0).clamp(min=1)
        means, stds = self.parameters[..., :3].double(), self.parameters[..., 3:6].double()
        mean = (count * means).sum(0) / total
        variance = (count * (stds.square() + (means - mean).square())).sum(0) / total
        return Distribution(mean.float()[None], variance.sqrt().float()[None], count[..., 0].sum(0).long()[None])

    def target_image(self, row: int) -> Tensor | None:
        """The image of a target for people to look at, (3, H, W) uint8 sRGB at its own size.

        Args:
            row: of the store.

        Returns:
            None where no file is named, where it cannot be read, or where it would have to be fetched from elsewhere:
            of URLs only those of files, file:///..., are read.
        """
        from hardmine.data.images import read_image  # the reader belongs to the data; the store need not have it

        reference = self.images[row]
        if reference is None or (is_url(reference) and not reference.startswith("file:///")):
            return None
        try:
            path = Path(unquote(reference.removeprefix("file://")) if is_url(reference) else reference)
            return read_image(path, convert=True)[0]
        except InputError:
            return None

    def with_(self, **changes: Any) -> Self:
        """A copy with some arguments of the constructor changed."""
        names = ["parameters", "count", "areas", "ids", "environment", "space", "min_pixels", "missing"]
        names += ["images", "index_images"]
        return type(self)(**{**{name: getattr(self, name) for name in names}, **changes})

    def aligned(self, areas: Sequence[str]) -> Self:
        """The same store with its areas in the order of another scene's, matched by name; strangers are dropped.

        Raises:
            InputError: no area in common, or names that differ in blanks or case alone.
        """
        if self.areas == tuple(areas):
            return self
        strangers = [name for name in self.areas if name not in areas]
        others = [name for name in areas if name not in self.areas]
        for name in strangers:
            if meant := near(name, others, similar=1.0):
                raise InputError(
                    f"the parameter store's area {name!r} differs from {meant!r} of the images in blanks or case "
                    "alone: write both alike"
                )
        if not set(self.areas) & set(areas):
            raise InputError(
                f"the parameter store and the source images have no area in common (store: {', '.join(self.areas)}; "
                f"images: {', '.join(areas)}): take a store of such images, or give its areas the images' names"
            )
        if strangers:
            named = ", ".join(name + did_you_mean(name, others) for name in strangers)
            _log.warning("hardmine: areas of the parameter store that the images do not have are left out: %s", named)
        order = [self.areas.index(name) if name in self.areas else -1 for name in areas] + [len(self.areas)]
        index = torch.tensor(order).clamp(min=0)
        known = torch.tensor(order) >= 0
        points, count = self.parameters[:, index] * known[:, None], self.count[:, index] * known
        return self.with_(parameters=points, count=count, areas=tuple(areas))

    def fitted(self, space: Space) -> Self:
        """The same targets for a conversion with these axes: further ones (a strength, an angle) get quasi-random
        values inside their bounds, alike for all areas of a target; axes the conversion does not know are dropped.

        Raises:
            InputError: colours of another colour space, or another axis that cannot be drawn.
        """
        names = self.space.names
        further = [axis for axis in space.axes if axis.name not in names]
        lacking = [axis.name for axis in further if axis.measured]
        if lacking:
            raise InputError(
                f"the parameter store has no {lacking[0]}, which the conversion needs (it has {', '.join(names)}): "
                "measure the targets again in the conversion's colour space, or add that column to their table"
            )
        points = self.parameters
        if further:
            drawn = Space(further).sobol(len(self))[:, None].expand(-1, self.regions, -1)
            points = torch.cat([points, drawn], dim=-1)
        order = [(*names, *(axis.name for axis in further)).index(axis.name) for axis in space.axes]
        return self.with_(parameters=points[..., order], space=space)

    def whole(self, name: str = WHOLE_IMAGE) -> Self:
        """The same targets with one area that stands for the whole image, for images whose regions are not known.

        Args:
            name: of the area.

        Raises:
            InputError: the store has nothing of whole images, as a table made elsewhere may.
        """
        if not self.valid[:, -1].any():
            raise InputError("the parameter store has no parameter of a whole image: measure the targets again")
        last = torch.tensor([-1, -1])
        return self.with_(parameters=self.parameters[:, last], count=self.count[:, last], areas=(name,))

    # Building and keeping

    @classmethod
    def from_images(
        cls,
        images: Iterable[tuple[str, Tensor, Tensor, Mapping[str, str]]],
        areas: Sequence[str],
        min_pixels: int = 20,
        missing: Literal["keep", "whole"] = "keep",
        colors: Literal["lab", "rgb"] = "lab",
    ) -> Self:
        """Measure the colours of labelled targets in float64.

        Args:
            images: id, image (3, H, W) uint8 sRGB, regions (H, W) uint8, environment of each.
            areas: names of the areas, in label order.
            min_pixels, missing: see the class.
            colors: the colour space.
        """
        points, counts, ids, environments = [], [], [], []
        for name, image, regions, environment in images:
            measured = measure(image[None], regions[None], len(areas), colors)
            points.append(torch.cat([measured.mean, measured.std], dim=-1))
            counts.append(measured.count)
            ids.append(name)
            environments.append(environment)
        if not ids:
            raise InputError("the parameter store is empty: no target image was given to measure")
        columns = {key: [environment[key] for environment in environments] for key in environments[0]}
        return cls(torch.cat(points), torch.cat(counts), areas, ids, columns, COLORS[colors], min_pixels, missing)

    @classmethod
    def from_space(cls, space: Space, areas: Sequence[str], targets: int = 64) -> Self:
        """Parameters that need no target image, spread evenly over their bounds (Sobol), alike for all areas.

        Raises:
            InputError: an axis that has no bounds, or is a colour.
        """
        for axis in space.axes:
            if axis.measured:
                raise InputError(
                    f"{axis.name} of the conversion cannot be drawn, it must be measured: load a table that has it, "
                    "with ParameterStore.load (store=file)"
                )
        points = space.sobol(targets)
        ids = [" ".join(f"{axis.name}={x:.3g}" for axis, x in zip(space.axes, p, strict=True)) for p in points.tolist()]
        count = torch.full((targets, len(areas) + 1), 1 << 30)
        return cls(points[:, None].repeat(1, len(areas) + 1, 1), count, areas, ids, space=space)

    @classmethod
    def from_folder(
        cls,
        root: str | Path,
        split: str | None = "target",
        convert: bool = False,
        void: Literal[255] | None = VOID,
        **kwargs: int | str,
    ) -> Self:
        """Measure the images of a folder in hardmine's layout, at their own size; their absolute paths are kept.

        Args:
            root: folder with images/, regions/, classes.csv and metadata.csv.
            split: which rows of metadata.csv; None takes all.
            convert, void: see `hardmine.data.Folder`.
            kwargs: `min_pixels`, `missing`, `colors`, see `from_images`.
        """
        # the reader of folders imports torch's data sets; the store need not
        from hardmine.data.folder import Folder

        return cls.from_layout(Folder(root, convert=convert, void=void), split, **kwargs)

    @classmethod
    def from_layout(cls, layout: "Layout", split: str | None = "target", **kwargs: int | str) -> Self:
        """Measure images wherever they lie, at their own size; their absolute paths are kept.

        Args:
            layout: of the images, as `hardmine.data.PairsData(...).layout`.
            split: which of them; None takes all.
            kwargs: `min_pixels`, `missing`, `colors`, see `from_images`.
        """
        from hardmine.data.header import summary

        rows = layout.rows(split)
        if not rows:
            splits = dict.fromkeys(row.split for row in layout.all_rows)
            raise InputError(f"{layout.empty(str(split))} or name another{did_you_mean(str(split), splits)}")
        headers = [header for row in rows for header in layout.look(row, labels=False)]
        for line in summary(headers, len(layout.areas)):
            _log.warning("hardmine: %s", line)
        images = ((row.id, *layout.read(row), row.environment) for row in rows)
        store = cls.from_images(images, layout.areas, **kwargs)  # type: ignore[arg-type]
        paths = [layout.paths(row) for row in rows]
        return store.with_(images=[image for image, _ in paths], index_images=[regions for _, regions in paths])

    @classmethod
    def from_loader(
        cls,
        loader: Iterable[Any],
        view: Reader,
        areas: Sequence[str] | None,
        min_pixels: int = 20,
        missing: Literal["keep", "whole"] = "keep",
        colors: Literal["lab", "rgb"] = "lab",
    ) -> Self:
        """Measure the images of any loader, in float64.

        They are called by their numbers in the data set where the batches say them (one that comes again is a target
        again: `5`, `5 (2)`), otherwise by a running number. Environments are not known.

        Args:
            loader: gives batches.
            view: reads them.
            areas: names of the areas, in label order; None where regions are the whole image. With boxes what lies
                outside all of them is an area too.
            min_pixels, missing: see the class.
            colors: the colour space.

        Raises:
            InputError: no image, or other areas than those named.
        """
        view, batches = view.unread(), iter(loader)
        first = next(batches, None)
        if first is None:
            raise InputError("the parameter store is empty: the loader gives no batch to measure")
        view.read(first, areas)
        for line in view.told:
            _log.warning("hardmine: the store measures %s", line)
        names = view.names(areas)
        return cls.from_images(_of_batches(chain([first], batches), view, areas), names, min_pixels, missing, colors)

    def save(self, path: str | Path) -> None:
        """One table, a row for each target and region.

        Args:
            path: of a Parquet file, which is replaced and keeps the store's facts in the schema's metadata; or the URL
                of a table in a database, see `load`, which must not be there yet. A database keeps no facts: axes that
                are no colours are read where `load` is given their `space`.

        Raises:
            InputError: a URL that cannot be, or a table that is there already.
        """
        write_store(self, path)

    @classmethod
    def load(
        cls,
        path: str | Path,
        min_pixels: int = 20,
        missing: Literal["keep", "whole"] = "keep",
        space: Space | None = None,
    ) -> Self:
        """Read a saved store, or a table of statistics made elsewhere (R8); no pixels are needed.

        Required columns: target, area, and those of the colours: mean_L, mean_a, mean_b, std_L, std_a, std_b; or mean_L
        and std_L alone (R6: conversions then leave a* and b* as they are); or mean_R, ...; or those of `space`. For any
        `std_...` there may be the variance, `var_...`. Optional: pixels (otherwise every row counts as large enough),
        `environment.<component>`, `image` and `index_image` (paths, relative ones from the folder of the table, or
        URLs), and any axis of `space` that is no colour and has bounds. A target may lack areas. Without `space` a
        saved store has its own.

        Args:
            path: a Parquet file, or a table of a database (R9): `sqlite:///night.db?table=colors`, with four slashes
                for an absolute path, or `duckdb:///...`, which needs the package duckdb.
            min_pixels, missing: see the class.
            space: axes of the conversion.

        Raises:
            InputError: no such file or table, not Parquet, a column missing, a value that no colour has.
        """
        return cls(**read_store(path, space), min_pixels=min_pixels, missing=missing)


def _of_batches(
    batches: Iterable[Any], view: Reader, areas: Sequence[str] | None
) -> Iterator[tuple[str, Tensor, Tensor, dict[str, str]]]:
    """What `ParameterStore.from_images` takes, of the batches of a loader; padding is cut off."""
    number, times = 0, Counter[str]()
    for batch in batches:
        scenes = view.read(batch, areas)
        height, width = scenes.image.shape[-2:]
        for row in range(len(scenes)):
            source = -1 if scenes.source is None else int(scenes.source[row])
            name = str(number if source < 0 else source)
            number += 1
            times[name] += 1
            tall, wide = (1.0, 1.0) if scenes.extent is None else scenes.extent[row].tolist()
            inside = ..., slice(round(tall * height)), slice(round(wide * width))
            image, regions = scenes.image[row].cpu()[inside], scenes.regions[row].cpu()[inside]
            yield name if times[name] == 1 else f"{name} ({times[name]})", image, regions, {}
