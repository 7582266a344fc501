"""The parameter store: colour distributions of target images, held without their pixels (R4-R9)."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from hardmine.color import srgb_to_lab
from hardmine.errors import InputError
from hardmine.files import write_atomically
from hardmine.records import Distribution, Recipe
from hardmine.regions import region_statistics

WHOLE = "(whole image)"  # name of the last region, and of its rows in the file
_CHANNELS = ("L", "a", "b")
_STATISTICS = tuple(f"{what}_{channel}" for what in ("mean", "std") for channel in _CHANNELS)
_PREFIX = "environment."  # of the columns that name the environment


class ParameterStore:
    """M targets with a distribution for every region, and the environment each was taken in.

    Args:
        distribution: M rows of R regions (the areas and, last, the whole image).
        areas: names of the A areas, in label order.
        ids: M names of the targets.
        environment: for each component (time, weather, ...) the M values.
        min_pixels: an area with fewer pixels in a target counts as missing there.
        missing: what an area gets whose target lacks it: `keep` leaves the source as it is, `whole` takes the
            whole image's distribution.
    """

    def __init__(
        self,
        distribution: Distribution,
        areas: Sequence[str],
        ids: Sequence[str],
        environment: Mapping[str, Sequence[str]] | None = None,
        min_pixels: int = 20,
        missing: Literal["keep", "whole"] = "keep",
    ) -> None:
        self.distribution = distribution
        self.areas = tuple(areas)
        self.ids = tuple(ids)
        self.environment = {name: tuple(values) for name, values in (environment or {}).items()}
        self.min_pixels = min_pixels
        self.missing = missing
        if not len(distribution):
            raise InputError("the parameter store is empty: give it at least one labelled target image")
        self.valid = distribution.count >= min_pixels  # (M, R) bool
        if not self.valid[:, :-1].any():
            raise InputError(f"no area of the parameter store has {min_pixels} pixels or more: lower store.min_pixels")
        points = torch.cat([distribution.mean, distribution.std], dim=-1)
        invalid = ~self.valid[..., None]
        self.lowest = points.masked_fill(invalid, torch.inf).amin(dim=0)  # (R, 6) mean and std of the valid points
        self.highest = points.masked_fill(invalid, -torch.inf).amax(dim=0)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def regions(self) -> int:
        """R."""
        return len(self.areas) + 1

    def parameters(self, target: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Parameters of stored targets for the chosen regions.

        Args:
            target: (N, R) int64 rows of the store; negative where none is wanted.
            chosen: (N, R) bool.

        Returns:
            chosen (N, R) without the areas the target lacks, mean and std (N, R, 3), target (N, R) int32, as a
            `Recipe` holds them.
        """
        row, region = target.clamp(min=0).long(), torch.arange(self.regions)
        chosen, valid = chosen & (target >= 0), self.valid[row, region]
        mean, std = self.distribution.mean[row, region], self.distribution.std[row, region]
        if self.missing == "whole":
            whole = ~valid[..., None]
            mean = torch.where(whole, self.distribution.mean[row, -1], mean)
            std = torch.where(whole, self.distribution.std[row, -1], std)
        else:
            chosen = chosen & valid
        zero = torch.zeros(())
        mean, std = (torch.where(chosen[..., None], value, zero) for value in (mean, std))
        return chosen, mean, std, torch.where(chosen, target, -1).int()

    def recipe(self, rows: Recipe, target: Tensor, chosen: Tensor) -> Recipe:
        """`rows` with the parameters of stored targets, see `parameters`."""
        chosen, mean, std, target = self.parameters(target, chosen)
        return rows.replace(chosen=chosen, mean=mean, std=std, target=target)

    def aligned(self, areas: Sequence[str]) -> Self:
        """The same store with its areas in the order of another scene's, matched by name; strangers are dropped.

        Raises:
            InputError: no area in common.
        """
        if self.areas == tuple(areas):
            return self
        if not set(self.areas) & set(areas):
            raise InputError(
                f"the parameter store and the source images have no area in common (store: {', '.join(self.areas)}; "
                f"images: {', '.join(areas)}): give the store the images' area names"
            )
        order = [self.areas.index(name) if name in self.areas else -1 for name in areas] + [len(self.areas)]
        index = torch.tensor(order).clamp(min=0)
        known = (torch.tensor(order) >= 0)[:, None]
        old = self.distribution
        new = Distribution(old.mean[:, index] * known, old.std[:, index] * known, old.count[:, index] * known[:, 0])
        return type(self)(new, areas, self.ids, self.environment, self.min_pixels, self.missing)

    # Building and keeping

    @classmethod
    def from_images(
        cls,
        images: Iterable[tuple[str, Tensor, Tensor, Mapping[str, str]]],
        areas: Sequence[str],
        min_pixels: int = 20,
        missing: Literal["keep", "whole"] = "keep",
    ) -> Self:
        """Measure labelled targets in float64.

        Args:
            images: id, image (3, H, W) uint8 sRGB, regions (H, W) uint8, environment of each.
            areas: names of the areas, in label order.
            min_pixels, missing: see the class.
        """
        parts, ids, environments = [], [], []
        for name, image, regions, environment in images:
            lab = srgb_to_lab(image.flatten(1)[None], torch.float64)
            measured = region_statistics(lab, regions.flatten()[None], len(areas))
            parts.append(Distribution(measured.mean.float(), measured.std.float(), measured.count))
            ids.append(name)
            environments.append(environment)
        if not parts:
            raise InputError("the parameter store is empty: no image has the split it is built from (store.split)")
        columns = {key: [environment[key] for environment in environments] for key in environments[0]}
        return cls(Distribution.cat(parts), areas, ids, columns, min_pixels, missing)

    @classmethod
    def from_folder(cls, root: str | Path, split: str | None = "target", **kwargs: int | str) -> Self:
        """Measure the images of a folder in hardmine's layout, at their own size.

        Args:
            root: folder with images/, regions/, classes.csv and metadata.csv.
            split: which rows of metadata.csv; None takes all.
            kwargs: `min_pixels`, `missing`, see the class.
        """
        from hardmine.data.folder import Folder  # the reader of folders imports torch's data sets; the store need not

        folder = Folder(root)
        rows = folder.rows(split)
        if not rows:
            raise InputError(f"{folder.root / 'metadata.csv'}: no row has split {split!r}: add some or name another")
        images = ((row.id, *folder.read(row), row.environment) for row in rows)
        return cls.from_images(images, folder.areas, **kwargs)  # type: ignore[arg-type]

    def save(self, path: str | Path) -> None:
        """One Parquet file: a row for each target and region, and the store's facts in the schema's metadata."""
        m, r = len(self), self.regions
        names = [*self.areas, WHOLE]
        columns: dict[str, Any] = {
            "target": [name for name in self.ids for _ in range(r)],
            "area": names * m,
            "pixels": self.distribution.count.flatten().tolist(),
        }
        values = torch.cat([self.distribution.mean, self.distribution.std], dim=-1).view(m * r, 6)
        for column, value in zip(_STATISTICS, values.unbind(1), strict=True):
            columns[column] = value.numpy()
        for component, entries in self.environment.items():
            columns[_PREFIX + component] = [entry for entry in entries for _ in range(r)]
        facts = {"version": 1, "areas": self.areas, "color_space": "CIE L*a*b*, D65, 2 degrees"}
        table = pa.table(columns).replace_schema_metadata({"hardmine.store": json.dumps(facts)})
        write_atomically(Path(path), lambda file: pq.write_table(table, file))

    @classmethod
    def load(cls, path: str | Path, min_pixels: int = 20, missing: Literal["keep", "whole"] = "keep") -> Self:
        """Read a saved store, or a table of statistics made elsewhere (R8); no pixels are needed.

        Required columns: target, area, mean_L, mean_a, mean_b, std_L, std_a, std_b. Optional: pixels (otherwise every
        row counts as large enough) and `environment.<component>`. A target may lack areas.

        Raises:
            InputError: no such file, not Parquet, a column missing, a value that no colour has.
        """
        path = Path(path)
        try:
            table = pq.read_table(path)
        except FileNotFoundError:
            raise InputError(f"{path}: no such file: give store.path a store written by `hardmine store`") from None
        except (OSError, pa.ArrowInvalid) as error:
            raise InputError(f"{path}: not a Parquet file: {str(error).splitlines()[0]}") from None
        lacking = {"target", "area", *_STATISTICS} - set(table.column_names)
        if lacking:
            raise InputError(f"{path}: column {sorted(lacking)[0]!r} is missing: add it to the table of statistics")
        return cls._from_table(path, table, min_pixels, missing)

    @classmethod
    def _from_table(cls, path: Path, table: pa.Table, min_pixels: int, missing: Literal["keep", "whole"]) -> Self:
        facts = json.loads((table.schema.metadata or {}).get(b"hardmine.store", b"{}"))
        targets, names = table["target"].to_pylist(), table["area"].to_pylist()
        areas = tuple(facts.get("areas", dict.fromkeys(name for name in names if name != WHOLE)))
        ids = tuple(dict.fromkeys(targets))
        row = {name: index for index, name in enumerate(ids)}
        region = {name: index for index, name in enumerate((*areas, WHOLE))}
        values = torch.stack([_numbers(path, table, name) for name in _STATISTICS], dim=1)
        possible = values.isfinite().all(1) & (values[:, 3:] >= 0).all(1)
        possible &= torch.tensor([name in region for name in names], dtype=torch.bool)
        if not possible.all():
            line = int((~possible).nonzero()[0])
            raise InputError(
                f"{path}: row {line} ({targets[line]}, {names[line]}) is no distribution: mend or drop that row"
            )
        place = torch.tensor([row[name] for name in targets]), torch.tensor([region[name] for name in names])
        statistics = torch.zeros(len(ids), len(region), 6)
        statistics[place] = values.float()
        count = torch.zeros(len(ids), len(region), dtype=torch.int64)
        with_pixels = "pixels" in table.column_names
        count[place] = _numbers(path, table, "pixels").long() if with_pixels else torch.full((len(names),), min_pixels)
        environment = {}
        for column in (name for name in table.column_names if name.startswith(_PREFIX)):
            of_target = dict(zip(targets, table[column].to_pylist(), strict=True))
            environment[column.removeprefix(_PREFIX)] = [str(of_target[name]) for name in ids]
        distribution = Distribution(statistics[..., :3].contiguous(), statistics[..., 3:].contiguous(), count)
        return cls(distribution, areas, ids, environment, min_pixels, missing)


def _numbers(path: Path, table: pa.Table, column: str) -> Tensor:
    """(rows,) float64; what is missing is NaN."""
    try:
        return torch.from_numpy(table[column].cast(pa.float64()).to_numpy().copy())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise InputError(f"{path}: column {column!r} holds no numbers: write it as numbers") from None
