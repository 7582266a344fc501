"""View: which fields of a batch are what, and the way there and back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from hardmine.errors import InputError
from hardmine.records import VOID
from hardmine.scenes import Scenes
from hardmine.store.store import WHOLE_IMAGE
from hardmine.view.boxes import boxes_as_areas, objects_of, padded_objects, put_objects
from hardmine.view.container import (
    MISSING,
    NUMBERS,
    Key,
    Path,
    dotted,
    get,
    has,
    listed,
    numbers_in,
    path_of,
    placed_fields,
    plain_tensor,
    put,
    rows_of,
    typed_like,
)
from hardmine.view.maps import classes_of, is_map, map_like, padding, stacked_maps

Kind = Literal["masks", "classes", "boxes"]

_IMAGES = ("image", "img", "images", "pixel_values", "inputs", "x")
_LABELS = ("mask", "masks", "label", "labels", "target", "targets", "y")
_OUTSIDE = ("background", "__background__", "rest")
_UNUSED = "(no box)"  # the place of an area that no box can have
_LIGHT = 16.0  # a level that something in a batch of 255 levels reaches
_SLACK = 0.02  # of the range: what rounding to half precision and back may leave


@dataclass
class _Form:
    """What the first batch told."""

    image: Path
    label: Path
    regions: Path | None  # a label map of its own
    kind: Kind
    objects: bool = False  # labels are a list of dicts, one for each image
    scale: float = 255.0
    channels: tuple[int, ...] = (0, 1, 2)
    movable: bool = True
    maps: dict[str, Path] = field(default_factory=dict)


class View:
    """How to find images, labels and regions in a batch; what is not given is found in the first batch and told.

    A key is a name of a dict or an attribute, or a position; dots go deeper ("labelled.image").

    Args:
        image: key of the images: (B, C, H, W), or a list of (C, H, W) of any sizes.
        label: key of the labels: classes (B,), label maps (B, H, W) or (B, 1, H, W), either one-hot, or dicts with
            `boxes` (G, 4) x1, y1, x2, y2 in pixels and `labels` (G,), padded with label -1 or one dict for each image.
        regions: key of label maps that name the areas; "whole" takes each image as one area. None takes those under
            `regions`, else label maps, else boxes, else the whole image.
        part: key of the part of the batch that is mined, for instance of a CombinedLoader.
        mean, std: of each channel, which the images were normalised with; in the units of `scale`.
        scale: the value of white before the normalisation: 1, 255, 65535. None finds 1 or 255.
        channels: which channels are red, green and blue, or which one is lightness.
        ignore_index: label of pixels that are not learnt.
        maps: keys of further label maps, which move with the image.
    """

    def __init__(
        self,
        image: Key | None = None,
        label: Key | None = None,
        regions: Key | None = None,
        part: Key | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        scale: float | None = None,
        channels: Sequence[int] | int | None = None,
        ignore_index: int = VOID,
        maps: Sequence[Key] = (),
    ) -> None:
        if (mean is None) != (std is None):
            raise InputError("view: mean and std go together: give both")
        if std is not None and not all(value > 0 for value in std):
            raise InputError(f"view: std must be > 0 in every channel, got {list(std)}")
        if scale is not None and not scale > 0:
            raise InputError(f"view: scale is the value of white and must be > 0, got {scale}")
        self.channels = (channels,) if isinstance(channels, int) else None if channels is None else tuple(channels)
        if self.channels is not None and len(self.channels) not in (1, 3):
            raise InputError(f"view: channels are red, green and blue, or one of lightness, got {self.channels}")
        self.image, self.label, self.regions, self.part = image, label, regions, part
        self.mean = None if mean is None else tuple(mean)
        self.std = None if std is None else tuple(std)
        self.scale, self.ignore_index, self.maps = scale, ignore_index, tuple(maps)
        self.told: list[str] = []  # lines on what was found and taken
        self._form: _Form | None = None
        self._checks = 8  # batches on a device whose labels are still looked at: that waits for the device

    # What is known after the first batch

    @property
    def kind(self) -> Kind:
        """What the labels are."""
        return self._known.kind

    @property
    def path(self) -> Path:
        """The way to the images, from the outermost container."""
        return self._known.image

    @property
    def whole(self) -> bool:
        """Whether each image is one area."""
        return self.regions == "whole" or (self._known.regions is None and self._known.kind == "classes")

    @property
    def by_box(self) -> bool:
        """Whether the areas are the classes of the boxes."""
        return self.kind == "boxes" and self._known.regions is None and not self.whole

    def names(self, areas: Sequence[str] | None) -> tuple[str, ...]:
        """Names of the areas by the labels of `Scenes.regions`.

        With boxes the last one is what lies outside all of them: "background" where the classes have it, else "rest".

        Raises:
            InputError: not given, and not the whole image.
        """
        if self.whole:
            return (WHOLE_IMAGE,)
        if areas is None:
            raise InputError(
                "areas: the names of the areas in label order are how labels meet the store's areas: give areas=, or "
                'view=View(regions="whole") to take each image as one area'
            )
        if not self.by_box:
            return tuple(areas)
        outside = next((name for name in areas if name in _OUTSIDE), "rest")
        return (*(_UNUSED if name == outside else name for name in areas), outside)

    @property
    def _known(self) -> _Form:
        if self._form is None:
            raise ValueError("the form of a batch is known once one has been read: call read first")
        return self._form

    # Reading

    def read(self, batch: Any, areas: Sequence[str] | None = None) -> Scenes:
        """The images of a batch on their device, with what of it has a place in the image.

        Args:
            batch: as the loader gives it.
            areas: names of the areas in label order; None where regions are the whole image.

        Raises:
            InputError: something that cannot be told, with the argument that tells it.
        """
        if self._form is None:
            self._form = self._found(batch)
        form = self._form
        raw = get(batch, form.image)
        image, extent, sizes = self._levels(raw)
        labels = self._labels(batch, form, image.shape, sizes)
        count = len(self.names(areas))
        regions = self._regions(batch, form, labels, image, sizes, count)
        if form.kind == "masks":
            labels["target"] = labels["target"].masked_fill(padding(sizes, labels["target"]), VOID)
        for name, path in form.maps.items():
            labels[name] = stacked_maps(get(batch, path), image.shape[2:])
        holder = get(batch, form.image[:-1])
        numbers = {name: numbers_in(holder, name, len(image)) for name in NUMBERS}
        return Scenes(
            image,
            regions,
            count,
            labels,
            source=numbers["index"],
            draw=numbers["draw"],
            extent=extent,
            grey=len(form.channels) == 1,
            movable=form.movable,
        )

    def scored(self, batch: Any, areas: Sequence[str] | None = None) -> dict[str, Tensor]:
        """What a scoring needs of a batch that has passed the user's hooks: labels and `regions`.

        Raises:
            InputError: the hooks made labels that cannot be scored.
        """
        form = self._form_of(batch)
        raw = get(batch, form.image)
        sizes = [image.shape[-2:] for image in raw]
        shape = torch.Size([len(raw), 3, max(h for h, _ in sizes), max(w for _, w in sizes)])
        labels = self._labels(batch, form, shape, sizes)
        device = next(iter(labels.values())).device
        blank = torch.zeros((), dtype=torch.uint8, device=device).expand(shape)
        return {**labels, "regions": self._regions(batch, form, labels, blank, sizes, len(self.names(areas)), False)}

    def input(self, batch: Any) -> Any:
        """What a model's forward takes: the images as they are."""
        images = get(batch, self._form_of(batch).image)
        return list(images) if isinstance(images, tuple) else images

    def _form_of(self, batch: Any) -> _Form:
        """The known form where the batch has it; hooks may have made another container of it."""
        form = self._known
        try:
            get(batch, form.image), get(batch, form.label)
        except MISSING:
            return self._found(batch, tell=False)
        return form

    def _found(self, batch: Any, tell: bool = True) -> _Form:
        root = () if self.part is None else path_of(self.part)
        try:
            holder = get(batch, root)
        except MISSING:
            raise InputError(f"view: the batch has no part {self.part!r}: it has {listed(batch)}") from None
        image = self._find(batch, root, holder, "image", self.image, _IMAGES, 0)
        inner = get(batch, image[:-1])
        boxed = self.label is None and has(inner, "boxes") and has(inner, "labels")
        label = image[:-1] if boxed else self._find(batch, root, holder, "label", self.label, _LABELS, 1)
        images, labels = get(batch, image), get(batch, label)
        height, width = self._size(images, dotted(image))
        objects = isinstance(labels, Sequence) and bool(labels) and isinstance(labels[0], Mapping)
        if isinstance(labels, Mapping) or boxed:
            if not (has(labels, "boxes") and has(labels, "labels")):
                raise InputError(f"view: {dotted(label)} holds {listed(labels)}: say which is the label with label=")
            kind: Kind = "boxes"
        elif objects:
            kind = "boxes"
            if not {"boxes", "labels"} <= labels[0].keys():
                raise InputError(f"view: {dotted(label)} has no boxes and labels: say where the label is with label=")
        else:
            kind = "masks" if is_map(labels, images) else "classes"
        regions: Path | None = None
        if self.regions is None and has(inner, "regions"):
            regions = (*image[:-1], "regions")
        elif self.regions not in (None, "whole"):
            regions = self._find(batch, root, holder, "regions", self.regions, (), None)
        maps = {dotted(path_of(name)): (*root, *path_of(name)) for name in self.maps}
        channels = self._channels_of(images)
        form = _Form(image, label, regions, kind, objects, channels=channels, maps=maps)
        if tell:
            form.scale = self._scale_of(images, channels)
            placed = list(
                placed_fields(inner, images, (height, width), {image, label, regions, *maps.values()}, image[:-1])
            )
            extra = images[0].shape[-3] > len(channels)
            form.movable = not placed and not extra
            self._tell(form, images, placed, extra, given=self.image is not None and self.regions is not None)
        return form

    def _find(
        self, batch: Any, root: Path, holder: Any, what: str, given: Key | None, names: Sequence[str],
        position: int | None,
    ) -> Path:  # fmt: skip
        if given is not None:
            path = (*root, *path_of(given))
            try:
                found = get(batch, path)
            except MISSING:
                raise InputError(f"view: the batch has no {what} {given!r}: it has {listed(holder)}") from None
            if found is None:
                raise InputError(f"view: {what} {given!r} is empty in the first batch: name another")
            return path
        if isinstance(holder, Sequence) and not isinstance(holder, str) and not hasattr(holder, "_fields"):
            if position is not None and len(holder) > position:
                return (*root, position)
        else:
            for name in names:
                if has(holder, name) and get(holder, (name,)) is not None:
                    return (*root, name)
        raise InputError(f"view: no {what} found in a batch of {listed(holder)}: name it, View({what}=...)")

    def _tell(self, form: _Form, images: Any, placed: list[str], extra: bool, given: bool) -> None:
        value = f"in [0, {form.scale:g}]" + (" after undoing mean and std" if self.mean is not None else "")
        labels = {"masks": "label maps", "classes": "classes", "boxes": "boxes"}[form.kind]
        if form.regions is not None:
            areas = f"the areas of {dotted(form.regions)}"
        else:
            areas = "the whole image" if self.whole_of(form) else f"the areas of the {labels}"
        found = dotted(form.label) or "boxes and labels"
        if not (given and images[0].dtype == torch.uint8):  # nothing was found that had not been said
            self.told.append(
                f"images: {dotted(form.image)}, {str(images[0].dtype).removeprefix('torch.')} {value}; "
                f"labels: {found}, {labels}; regions: {areas}"
            )
        if placed:
            self.told.append(
                f"new frames are off: {', '.join(placed[:3])} has a place in the image that is not known; name label "
                "maps in View(maps=...)"
            )
        elif extra:
            self.told.append("new frames are off: the images have further channels, which stay where they are")

    def whole_of(self, form: _Form) -> bool:
        return self.regions == "whole" or (form.regions is None and form.kind == "classes")

    # Images

    def _size(self, images: Any, name: str) -> tuple[int, int]:
        good = isinstance(images, Tensor) and images.ndim == 4
        listed = isinstance(images, Sequence) and bool(images) and all(
            isinstance(image, Tensor) and image.ndim == 3 for image in images
        )  # fmt: skip
        if not good and not listed:
            inside = images[0] if isinstance(images, Sequence) and images else images
            batches = isinstance(inside, Tensor) and inside is not images and inside.ndim == 4
            if batches or isinstance(images, Mapping) or isinstance(inside, Sequence | Mapping):
                raise InputError("view: the batch has several parts: say which one is mined, View(part=...)")
            shape = f"{tuple(images.shape)}" if isinstance(images, Tensor) else type(images).__name__
            raise InputError(f"view: {name} must be images (B, C, H, W) or a list of (C, H, W), got {shape}")
        return int(images[0].shape[-2]), int(images[0].shape[-1])

    def _channels_of(self, images: Any) -> tuple[int, ...]:
        there = int(images[0].shape[0])
        if self.channels is not None:
            if not all(-there <= channel < there for channel in self.channels):
                raise InputError(f"view: channels {self.channels} are not among the images' {there}")
            return self.channels
        if there == 1:
            return (0,)
        if there != 3:
            hint = ": channels come first, (B, C, H, W)" if images[0].shape[-1] in (1, 3) else ""
            raise InputError(
                f"view: the images have {there} channels{hint}: say which are red, green and blue, "
                "View(channels=(0, 1, 2))"
            )
        return (0, 1, 2)

    def _scale_of(self, images: Any, channels: tuple[int, ...]) -> float:
        values = torch.cat([self._denormalised(image.detach(), channels).flatten() for image in images])
        dtype = images[0].dtype
        if dtype == torch.uint8 and self.mean is None:
            return 255.0
        low, high = float(values.min()), float(values.max())
        if not (abs(low) < float("inf") and abs(high) < float("inf")):
            raise InputError("view: the images hold NaN or infinite values")
        if self.scale is not None:
            scale = float(self.scale)
        elif not dtype.is_floating_point and high > 255:
            raise InputError(f"view: {dtype} images up to {high:g}: say what white is, View(scale=65535)")
        elif not dtype.is_floating_point or high > _LIGHT:
            scale = 255.0
        else:
            scale = 1.0  # between that and black of 255 levels lies what has been normalised
        if low < -_SLACK * scale or high > scale * (1 + _SLACK):
            if self.mean is not None:
                raise InputError(
                    f"view: undoing mean and std gives values from {low:.3g} to {high:.3g} outside [0, {scale:g}]: "
                    "give those that the images were normalised with, one of each channel and the same for all samples"
                )
            if low < -_SLACK:
                raise InputError(
                    f"view: float images from {low:.3g} to {high:.3g} are normalised: give View(mean=..., std=...)"
                )
            raise InputError(f"view: images up to {high:g}: say what white is, View(scale=...)")
        return scale

    def _statistics(self, image: Tensor, channels: tuple[int, ...]) -> tuple[Tensor, Tensor] | None:
        """mean and std of the picked channels, (C, 1, 1)."""
        if self.mean is None or self.std is None:
            return None
        there = image.shape[-3]
        if len(self.mean) not in (1, there) or len(self.std) != len(self.mean):
            raise InputError(f"view: mean and std have {len(self.mean)} values and the images {there} channels")
        both = torch.tensor([self.mean, self.std], dtype=torch.float32).expand(2, there)[:, list(channels)]
        mean, std = both.to(image.device, non_blocking=True)[..., None, None]
        return mean, std

    def _denormalised(self, image: Tensor, channels: tuple[int, ...]) -> Tensor:
        """(..., C, H, W) float32 of the picked channels in [0, scale]."""
        picked = image if channels == tuple(range(image.shape[-3])) else image[..., list(channels), :, :]
        statistics = self._statistics(image, channels)
        if statistics is None:
            return picked if picked.dtype == torch.uint8 else picked.float()
        return picked.float() * statistics[1] + statistics[0]

    def _level(self, image: Tensor) -> Tensor:
        """(..., 3, H, W) uint8."""
        form = self._known
        image = plain_tensor(image.detach())
        value = self._denormalised(image, form.channels)
        if value.dtype != torch.uint8:
            value = (value * (255 / form.scale)).round_().clamp_(0, 255).byte()
        return value.expand(*value.shape[:-3], 3, *value.shape[-2:])

    def _levels(self, images: Any) -> tuple[Tensor, Tensor | None, list[Any]]:
        """Levels of all images in one tensor, how much of it each fills, and their sizes."""
        self._size(images, dotted(self._known.image))
        sizes = [tuple(image.shape[-2:]) for image in images]
        if isinstance(images, Tensor):
            return self._level(images).contiguous(), None, sizes
        if len(set(sizes)) == 1:
            return torch.stack([self._level(image) for image in images]), None, sizes
        height, width = (max(side) for side in zip(*sizes, strict=True))
        made = images[0].new_zeros((len(images), 3, height, width), dtype=torch.uint8)
        for row, image in enumerate(images):
            made[row, :, : sizes[row][0], : sizes[row][1]] = self._level(image)
        extent = torch.tensor(sizes, dtype=torch.float64) / torch.tensor([height, width])
        return plain_tensor(made), extent.float(), sizes

    # Labels

    def _labels(self, batch: Any, form: _Form, shape: torch.Size, sizes: list[Any]) -> dict[str, Tensor]:
        label = get(batch, form.label)
        if form.kind == "boxes":
            return objects_of(label) if form.objects else padded_objects(label)
        if form.kind == "classes":
            return {"target": classes_of(label, len(sizes))}
        target = self._label_map(label, shape[2:], sizes)
        return {"target": target}

    def _label_map(self, label: Any, size: torch.Size, sizes: list[Any]) -> Tensor:
        """(B, H, W) int64 or uint8, 255 where nothing is learnt."""
        value = stacked_maps(label, size, void=self.ignore_index)
        if self.ignore_index == VOID:
            return value
        if value.dtype == torch.uint8 and self.ignore_index < 0:
            return value
        return torch.where(value == self.ignore_index, VOID, value)

    def _regions(
        self,
        batch: Any,
        form: _Form,
        labels: dict[str, Tensor],
        image: Tensor,
        sizes: list[Any],
        count: int,
        checked: bool = True,
    ) -> Tensor:
        shape = (len(image), *image.shape[2:])
        if self.whole_of(form):
            regions = torch.zeros(shape, dtype=torch.uint8, device=image.device)
        elif form.regions is not None:
            regions = self._as_areas(self._label_map(get(batch, form.regions), image.shape[2:], sizes), count, checked)
        elif form.kind == "masks":
            regions = self._as_areas(labels["target"], count, checked)
        else:
            regions = boxes_as_areas(labels["boxes"], labels["labels"], shape, count)
        return regions.masked_fill(padding(sizes, regions), VOID)

    def _as_areas(self, labels: Tensor, count: int, checked: bool) -> Tensor:
        if checked and (labels.device.type == "cpu" or self._checks > 0):
            self._checks -= 1
            strange = labels[(labels != VOID) & ((labels < 0) | (labels >= count))]
            if len(strange):
                raise InputError(
                    f"areas: {count} are named and a label map has {int(strange[0])}: name each area in label order, "
                    "or give View(ignore_index=...)"
                )
        if labels.dtype == torch.uint8:
            return labels
        return torch.where((labels >= 0) & (labels < count), labels, VOID).byte()

    # Writing

    def take(self, batch: Any, rows: Tensor) -> Any:
        """A batch of other rows, each as often as (N,) int64 `rows` on the CPU names it."""
        count = len(get(batch, self._known.image))
        root = () if self.part is None else path_of(self.part)
        return put(batch, root, rows_of(get(batch, root), rows, count, outermost=True))

    def write(self, batch: Any, scenes: Scenes, made: Scenes) -> Any:
        """The batch with converted images in place of its own.

        A new container; the user's is never changed in place. Where a level is as before, the original value stays.

        Args:
            batch: what `scenes` were read from.
            scenes: as read.
            made: B scenes, some of them converted; `scenes` itself returns the batch itself.
        """
        if made is scenes or (made.image is scenes.image and made.regions is scenes.regions):
            return batch
        form = self._known
        images = get(batch, form.image)
        if isinstance(images, Tensor):
            new: Any = self._written(images, scenes.image, made.image)
        else:
            parts = []
            for row, image in enumerate(images):
                inside = row, ..., slice(image.shape[-2]), slice(image.shape[-1])
                parts.append(self._written(image, scenes.image[inside], made.image[inside]))
            new = type(images)(parts)
        batch = put(batch, form.image, new)
        if made.regions is scenes.regions:
            return batch
        return self._moved(batch, scenes, made, form)

    def _written(self, image: Tensor, before: Tensor, after: Tensor) -> Tensor:
        form = self._known
        channels = list(form.channels)
        old = before[..., : len(channels), :, :]
        levels = after[..., : len(channels), :, :]
        plain = plain_tensor(image)
        value: Tensor = levels
        if image.dtype != torch.uint8 or self.mean is not None:
            value = levels.float() * (form.scale / 255)
            statistics = self._statistics(plain, form.channels)
            if statistics is not None:
                value = (value - statistics[0]) / statistics[1]
            if not image.dtype.is_floating_point:
                value = value.round()
        value = value.to(image.dtype)
        if channels == list(range(image.shape[-3])):
            return typed_like(image, torch.where(levels == old, plain, value))
        new = plain.clone()
        new[..., channels, :, :] = torch.where(levels == old, plain[..., channels, :, :], value)
        return typed_like(image, new)

    def _moved(self, batch: Any, scenes: Scenes, made: Scenes, form: _Form) -> Any:
        """Labels that moved with the image."""
        if form.kind == "masks":
            batch = put(batch, form.label, self._map_back(get(batch, form.label), scenes, made, "target"))
        elif form.kind == "boxes":
            batch = put_objects(batch, form.label, form.objects, scenes, made)
        if form.regions is not None:
            old = get(batch, form.regions)
            batch = put(batch, form.regions, map_like(old, scenes.regions, made.regions, self.ignore_index))
        for name, path in form.maps.items():
            batch = put(batch, path, map_like(get(batch, path), scenes.labels[name], made.labels[name], VOID))
        return batch

    def _map_back(self, old: Any, scenes: Scenes, made: Scenes, name: str) -> Any:
        return map_like(old, scenes.labels[name], made.labels[name], self.ignore_index)
