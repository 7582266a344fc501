"""Which fields of a batch are what."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from hardmine.errors import InputError
from hardmine.view.container import Key, Path, dotted, get, has, leads, listed, path_of, placed_fields
from hardmine.view.maps import is_map
from hardmine.view.pixels import size_of

Kind = Literal["masks", "classes", "boxes"]

_IMAGES = ("image", "img", "images", "pixel_values", "inputs", "x")
_LABELS = ("mask", "masks", "label", "labels", "target", "targets", "y")
_WORDS = {"masks": "label maps", "classes": "classes", "boxes": "boxes"}


@dataclass
class Form:
    """What lies where in a batch.

    Attributes:
        image, label: where these lie.
        regions: where label maps lie that name the areas; None where the labels do, or each image is one area.
        kind: what the labels are.
        whole: each image is one area.
        objects: labels are a list of dicts, one for each image.
        maps: where further label maps lie, by the names that they were given.
        root: where the part lies that is mined.
    """

    image: Path
    label: Path
    regions: Path | None
    kind: Kind
    whole: bool
    objects: bool
    maps: dict[str, Path] = field(default_factory=dict)
    root: Path = ()

    def unplaced(self, batch: Any) -> list[str]:
        """Names of fields that may have a place in the image and do not move with it."""
        known = {self.image, self.label, self.regions, *self.maps.values()}
        if self.kind == "boxes":
            known |= {(*self.label, "boxes"), (*self.label, "labels")}
        return list(dict.fromkeys(placed_fields(get(batch, self.root), known, self.root)))

    @property
    def labels(self) -> str:
        """Where the labels lie and what they are, for people."""
        return f"{dotted(self.label) or 'boxes and labels'}, {_WORDS[self.kind]}"

    @property
    def areas(self) -> str:
        """What the areas are, for people."""
        if self.regions is not None:
            return f"the areas of {dotted(self.regions)}"
        return "the whole image" if self.whole else f"the areas of the {_WORDS[self.kind]}"


@dataclass(frozen=True)
class Keys:
    """What the user has named of a batch; the rest is found. See `View`."""

    image: Key | None
    label: Key | None
    regions: Key | None
    part: Key | None
    maps: tuple[Key, ...]

    def found(self, batch: Any, hooked: bool = False) -> Form:
        """What lies where.

        Args:
            batch: the first one.
            hooked: it has passed the user's hooks, which may have given other names.

        Raises:
            InputError: something that cannot be told, with the argument that tells it.
        """
        root = () if self.part is None else way(batch, self.part)
        if not leads(batch, root):
            if not hooked:
                raise InputError(f"view: the batch has no part {self.part!r}: it has {listed(batch)}")
            root = ()
        holder = get(batch, root)
        if isinstance(holder, list) and holder and all(isinstance(each, Mapping) for each in holder):
            raise InputError(
                "view: the batch is a list of samples: collate their images into one tensor or list, or "
                "name the one that is a batch, View(part=0)"
            )
        image = root + (_given(holder, "image", self.image, hooked) or _first(holder, "image", _IMAGES, 0))
        inner = get(batch, image[:-1])
        boxed = self.label is None and has(inner, "boxes") and has(inner, "labels")
        if boxed:
            label = image[:-1]
        else:
            label = root + (_given(holder, "label", self.label, hooked) or _first(holder, "label", _LABELS, 1))
        images, labels = get(batch, image), get(batch, label)
        size_of(images, dotted(image))
        objects = isinstance(labels, Sequence) and bool(labels) and isinstance(labels[0], Mapping)
        kind: Kind = "boxes"
        if isinstance(labels, Mapping) or boxed:
            if not (has(labels, "boxes") and has(labels, "labels")):
                raise InputError(f"view: {dotted(label)} holds {listed(labels)}: say which is the label with label=")
        elif objects:
            if not {"boxes", "labels"} <= labels[0].keys():
                raise InputError(
                    f"view: targets in {dotted(label)} need boxes and labels, got {listed(labels[0])}: name them so"
                )
        else:
            kind = "masks" if is_map(labels, images) else "classes"
        regions: Path | None = None
        if self.regions is None and has(inner, "regions") and is_map(get(inner, ("regions",)), images):
            regions = (*image[:-1], "regions")
        elif self.regions not in (None, "whole"):
            named = _given(holder, "regions", self.regions, hooked)
            regions = None if named is None else root + named
        whole = self.regions == "whole" or (regions is None and kind == "classes")
        maps = {dotted(way(holder, name)): (*root, *way(holder, name)) for name in self.maps}
        return Form(image, label, regions, kind, whole, objects, maps, root)


def way(holder: Any, key: Key) -> Path:
    """The path that a key means; dots go deeper where no name has them."""
    return (key,) if isinstance(holder, Mapping) and key in holder else path_of(key)


def _given(holder: Any, what: str, key: Key | None, hooked: bool) -> Path | None:
    """The way that the user has named, where something lies there."""
    if key is None:
        return None
    path = way(holder, key)
    if leads(holder, path):
        if get(holder, path) is None:
            raise InputError(f"view: {what} {key!r} is empty in the first batch: name another")
        return path
    if hooked:
        return None
    raise InputError(f"view: the batch has no {what} {key!r}: it has {listed(holder)}")


def _first(holder: Any, what: str, names: Sequence[str], position: int) -> Path:
    """The way by position, or by the first usual name."""
    if isinstance(holder, Sequence) and not isinstance(holder, str) and not hasattr(holder, "_fields"):
        if len(holder) > position:
            return (position,)
    else:
        for name in names:
            if has(holder, name) and get(holder, (name,)) is not None:
                return (name,)
    raise InputError(
        f"view: no {what} found in a batch of {listed(holder)}: name it, View({what}=...), or the part of "
        "the batch that is mined, View(part=...)"
    )
