"""The ledger: an append-only record of every verdict."""

import json
from dataclasses import fields
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from torch import Tensor

from hardmine.errors import InputError
from hardmine.files import write_atomically
from hardmine.records import Distribution, Recipe, Verdict

_USUAL = "hardmine.usual"


class Ledger:
    """A folder of Parquet parts that any reader takes as one table (`pandas.read_parquet(folder)`).

    One row per verdict holds the whole recipe, so that any candidate ever made can be made again, its score and the
    optimiser step of that score. A part appears whole or not at all, and its name says up to which step it goes.

    Args:
        folder: where the parts lie; made with the first one.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if self.folder.exists() and not self.folder.is_dir():
            raise InputError(f"ledger: {self.folder} is no folder: name one")
        self._own = False  # whether its parts are of this process
        self.usual: Distribution | None = None  # of the areas, where conversions compare with it; kept with the parts
        self._rows: list[pa.Table] = []

    def append(self, candidates: Recipe, verdict: Verdict) -> None:
        """Remember verdicts; they reach the disk with the next `flush`."""
        columns = {**candidates.tensors(), **verdict.tensors()}
        self._rows.append(pa.table({name: _column(value) for name, value in columns.items()}))

    def flush(self) -> None:
        """Write what has been appended since the last flush as one part."""
        if not self._rows:
            return
        self._write(pa.concat_tables(self._rows))
        self._rows = []

    def truncate(self, step: int) -> int:
        """Drop the verdicts of `step` and later: a resumed run makes them again.

        Returns:
            Verdicts that are left.

        Raises:
            InputError: a run that begins finds those of another one, or a part is damaged.
        """
        self._rows = []
        parts = sorted(self.folder.glob("*.parquet"))
        if parts and not step and not self._own:
            raise InputError(f"ledger: {self.folder} holds the verdicts of another run: name an empty folder")
        left = 0
        for part in parts:
            table = _read(part)
            kept = table.filter(pc.less(table["step"], step))
            left += len(kept)
            if len(kept) == len(table):
                continue
            if len(kept):
                self._write(kept)
            part.unlink()
        return left

    def _write(self, table: pa.Table) -> None:
        self._own = True
        last = pc.max(table["step"]).as_py()
        if self.usual is not None:
            values = {name: value.tolist() for name, value in self.usual.tensors().items()}
            table = table.replace_schema_metadata({_USUAL: json.dumps(values)})
        write_atomically(self.folder / f"to_step_{last:09d}.parquet", lambda file: pq.write_table(table, file))

    def learnt(self) -> Distribution | None:
        """What was usual of the areas when the candidates were made, as far as a part on the disk says so."""
        for part in sorted(self.folder.glob("*.parquet")):
            kept = (pq.read_schema(part).metadata or {}).get(_USUAL.encode())
            if kept is not None:
                values = {name: torch.tensor(value) for name, value in json.loads(kept).items()}
                return Distribution(values["mean"].float(), values["std"].float(), values["count"].long())
        return None

    def read(self) -> pa.Table:
        """Every verdict on the disk, oldest first."""
        parts = [_read(part).replace_schema_metadata() for part in sorted(self.folder.glob("*.parquet"))]
        return pa.concat_tables(parts) if parts else pa.table({})

    def pieces(self) -> Recipe:
        """The recipes of all pieces on the disk, in the order of their numbers.

        Raises:
            InputError: there are none.
        """
        table = self.read()
        table = table.filter(pc.greater_equal(table["piece"], 0)).sort_by("piece") if len(table) else table
        if not len(table):
            raise InputError(f"{self.folder}: no piece was found: raise the threshold, or search longer")
        return _recipe(table)

    def verdicts(self) -> tuple[Recipe, Verdict]:
        """All that is on the disk, which is something, oldest first."""
        table = self.read()
        return _recipe(table), Verdict(**{field.name: _rows(table[field.name]) for field in fields(Verdict)})


def _recipe(table: pa.Table) -> Recipe:
    tensors = {field.name: _rows(table[field.name]) for field in fields(Recipe)}
    return Recipe.from_tensors({**tensors, "parameter": tensors["parameter"].view(*tensors["chosen"].shape, -1)})


def _read(part: Path) -> pa.Table:
    try:
        return pq.read_table(part)
    except (OSError, pa.ArrowInvalid):
        raise InputError(f"{part}: is damaged: delete it to go on without the verdicts that it held") from None


def _rows(column: pa.ChunkedArray) -> Tensor:
    """The tensor that `_column` wrote, all but its first axis flattened."""
    array = column.combine_chunks()
    if not pa.types.is_fixed_size_list(array.type):
        return torch.from_numpy(array.to_numpy(zero_copy_only=False).copy())
    values = torch.from_numpy(array.flatten().to_numpy(zero_copy_only=False).copy())
    return values.view(len(array), -1)


def _column(value: Tensor) -> pa.Array:
    """Rows of any shape as a list of fixed length per row."""
    array = pa.array(value.flatten().numpy())
    return array if value.ndim == 1 else pa.FixedSizeListArray.from_arrays(array, value[0].numel())
