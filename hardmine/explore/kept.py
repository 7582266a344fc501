"""A recipe that a person keeps: a store of one target (`store=file` reads it), and what it was found on."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch
from torch import Tensor

from hardmine.errors import InputError
from hardmine.files import write_atomically
from hardmine.neighbourhood.cells import environments
from hardmine.records import Recipe
from hardmine.space import Space
from hardmine.store import ParameterStore
from hardmine.store.file import table_of

FORMAT = 1
_ABOUT = b"hardmine.recipe"  # in the schema's metadata
_MANY = 1 << 30  # pixels, so that no limit takes an area for missing
_LONGEST = 100  # letters of a name


@dataclass(frozen=True)
class Kept:
    """A recipe, read back.

    Attributes:
        name: of its file, without the ending.
        chosen: (R,) bool, the regions that it converts.
        parameter: (R, D) float32; 0 where it converts nothing.
        about: what it was found on: `split`, `image`, `accuracy`, `clean`, ...
    """

    name: str
    chosen: Tensor
    parameter: Tensor
    about: Mapping[str, Any]


def keep(folder: Path, name: str, store: ParameterStore, recipe: Recipe, about: Mapping[str, Any]) -> Path:
    """Write a recipe, whole or not at all.

    Args:
        folder: that recipes are kept in; it is made where it is missing.
        name: of the recipe.
        store: that the recipe goes by.
        recipe: 1 row.
        about: what it was found on, as JSON can have it.

    Returns:
        Its file, `FOLDER/NAME.parquet`.

    Raises:
        InputError: a name that no file can have or that there is already; a recipe that converts no area.
    """
    name = name.strip()
    if not name or name != Path(name).name or name.startswith(".") or len(name) > _LONGEST or not name.isprintable():
        raise InputError(f"name: {name!r:.60} cannot be the name of a file: take letters, digits, - and _")
    path = folder / f"{name}.parquet"
    if path.exists() or path.is_symlink():
        raise InputError(f"name: {name} is kept already: take another name")
    there = recipe.counted[0]
    if not there[:-1].any():
        raise InputError("a recipe converts an area: choose one that the image has")
    of = {int(row) for row in recipe.target[0][there].tolist()}
    image = store.images[of.pop()] if len(of) == 1 and -1 not in of else None
    one = store.with_(
        parameters=torch.where(there[:, None], recipe.parameter[0], 0.0)[None],
        count=torch.where(there, _MANY, 0)[None],
        ids=(name,),
        environment={component: (value,) for component, value in environments(recipe, store)[0].items()},
        images=(image,),
        index_images=(None,),
    )
    table = table_of(one)
    said = json.dumps({"format": FORMAT, **about}, allow_nan=False)
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), _ABOUT: said.encode()})
    write_atomically(path, lambda file: pq.write_table(table, file, write_page_checksum=True))
    return path


def read(path: Path, areas: Sequence[str], space: Space) -> Kept:
    """A recipe that `keep` wrote.

    Args:
        path: of its file.
        areas: names of the areas in label order.
        space: the axes of the conversion.

    Raises:
        InputError: it is damaged, or of other areas or another conversion.
    """
    store = ParameterStore.load(path, missing="keep", space=space).aligned(areas).fitted(space)
    try:
        about = json.loads((pq.read_schema(path).metadata or {})[_ABOUT])
        if about["format"] != FORMAT:
            raise InputError(f"{path}: format {about['format']} of a recipe; this version reads {FORMAT}")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: is no recipe that hardmine explore has kept: name another") from None
    chosen = store.valid[0]
    return Kept(path.stem, chosen, torch.where(chosen[:, None], store.parameters[0], 0.0), about)


def names(folder: Path) -> list[str]:
    """Of the recipes in a folder, the latest first."""
    files = [path for path in folder.glob("*.parquet") if not path.name.startswith(".")]
    return [path.stem for path in sorted(files, key=lambda path: path.stat().st_mtime, reverse=True)]


def free_name(folder: Path, wanted: str) -> str:
    """A name that no recipe has: the wanted one, with a number where it is taken."""
    word = "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in wanted)[: _LONGEST - 6]
    taken = set(names(folder))
    return next(name for number in range(len(taken) + 1) if (name := f"{word}_{number + 1:02d}") not in taken)
