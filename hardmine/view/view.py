"""View: which fields of a batch are what, and the way there and back."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from hardmine.errors import InputError
from hardmine.records import VOID
from hardmine.scenes import Scenes
from hardmine.store.store import WHOLE_IMAGE
from hardmine.view.boxes import boxes_as_areas, look_at_boxes, objects_of, padded_objects, put_objects
from hardmine.view.container import (
    NUMBERS,
    Key,
    Path,
    dotted,
    get,
    leads,
    listed,
    numbers_in,
    plain_tensor,
    put,
    rows_of,
)
from hardmine.view.form import Form, Keys, Kind
from hardmine.view.halved import halved_images, halved_maps
from hardmine.view.maps import classes_of, map_like, padding, stacked_maps
from hardmine.view.pixels import Pixels, size_of

_OUTSIDE = ("background", "__background__", "rest")
UNUSED = "(no box)"  # the place of an area that no box can have


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
        ignore_index: label of pixels, or images, that are not learnt. None is 255 in label maps, and none of classes.
        maps: keys of further label maps, which move with the image.
    """

    def __init__(
        self,
        image: Key | None = None,
        label: Key | None = None,
        regions: Key | None = None,
        part: Key | None = None,
        mean: Sequence[float] | float | None = None,
        std: Sequence[float] | float | None = None,
        scale: float | None = None,
        channels: Sequence[int] | int | None = None,
        ignore_index: int | None = None,
        maps: Sequence[Key] = (),
    ) -> None:
        if ignore_index is not None and not isinstance(ignore_index, int):
            raise InputError(f"view: ignore_index is the label of pixels that are not learnt, got {ignore_index!r}")
        self._given = (image, label, regions, part, mean, std, scale, channels, ignore_index, maps)
        self.pixels = Pixels(mean, std, scale, channels)
        self.keys = Keys(image, label, regions, part, tuple(maps))
        self.ignore_index = VOID if ignore_index is None else ignore_index
        self._ignored_class = ignore_index
        self._pictures = ignore_index is None  # label maps may be pictures of 0 and 255 yet
        self.told: list[str] = []  # lines on what was found and taken
        self.movable = True  # whether all that has a place in the image is known, so that it may move
        self._form: Form | None = None
        self._checks = 8  # batches on a device whose labels are still looked at: that waits for the device

    def unread(self) -> "View":
        """One with the same arguments that has seen no batch."""
        return View(*self._given)

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
        return self._known.whole

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
                "areas: without names the labels cannot be matched with the areas of the store: give areas=, "
                'the names in label order, or view=View(regions="whole") to take each image as one area'
            )
        if not self.by_box:
            return tuple(areas)
        outside = next((name for name in areas if name in _OUTSIDE), "rest")
        return (*(UNUSED if name == outside else name for name in areas), outside)

    @property
    def _known(self) -> Form:
        if self._form is None:
            raise ValueError("the form of a batch is known once one has been read: call read first")
        return self._form

    # Reading

    def absent(self, batch: Any) -> bool:
        """Whether no image came for the part that is mined, as of a CombinedLoader whose loader has ended."""
        path = () if self._form is None else self._form.image
        if any(leads(batch, path[:deep]) and get(batch, path[:deep]) is None for deep in range(len(path))):
            return True
        images = get(batch, path) if path and leads(batch, path) else None
        return isinstance(images, Tensor | list | tuple) and not len(images)

    def read(self, batch: Any, areas: Sequence[str] | None = None) -> Scenes:
        """The images of a batch on their device, with what of it has a place in the image.

        Args:
            batch: as the loader gives it.
            areas: names of the areas in label order; None where regions are the whole image.

        Raises:
            InputError: something that cannot be told, with the argument that tells it.
        """
        known = self._form
        try:
            if self._form is None:
                self._form = self._look(batch)
            return self._scenes(batch, self._form, areas)
        except (InputError, torch.OutOfMemoryError):
            raise
        except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:  # nobody thought of it
            why = " ".join(str(error).split())[:160]
            remedy = (
                "say where images, labels and areas are, View(image=..., label=..., regions=...)"
                if known is None
                else f"it must have the form of the first one (images: {dotted(known.image)}; labels: {known.labels})"
            )
            raise InputError(f"view: a batch of {listed(batch)} cannot be read ({why}): {remedy}") from error

    def _scenes(self, batch: Any, form: Form, areas: Sequence[str] | None) -> Scenes:
        raw = get(batch, form.image)
        image, extent, sizes = self._levels(raw)
        try:
            labels = self._labels(batch, form, image.shape, sizes)
        except InputError as error:
            if self.keys.label is not None:
                raise
            found = f"{error} (the labels were found in {dotted(form.label)}; others are named by View(label=...))"
            raise InputError(found) from error
        count = len(self.names(areas))
        if count > VOID:
            raise InputError(
                f"{count} areas are named, at most {VOID} can be told apart: take each image as one area, "
                'View(regions="whole")'
            )
        regions = self._regions(batch, form, labels, image, sizes, count)
        if form.kind == "masks":
            if self._pictures and count > 1 and self._looks(labels["target"]):
                self._pictures = _void_alone(labels["target"])
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
            grey=self.pixels.grey,
            movable=self.movable,
        )

    def scored(self, batch: Any, made: Scenes | None, areas: Sequence[str] | None = None) -> dict[str, Tensor]:
        """What a scoring needs of a batch that has passed the user's hooks: labels and `regions`.

        Args:
            batch: after the hooks.
            made: N scenes that were written into it before them; None leaves the areas out.
            areas: names of the areas in label order.

        Raises:
            InputError: the hooks made labels that cannot be scored.
        """
        form = self._form_of(batch)
        raw = get(batch, form.image)
        sizes = [image.shape[-2:] for image in raw]
        shape = torch.Size([len(raw), 3, max(h for h, _ in sizes), max(w for _, w in sizes)])
        labels = self._labels(batch, form, shape, sizes)
        if made is None:
            return labels
        rows = {len(raw), *map(len, labels.values())}
        if rows != {len(made)}:
            raise InputError(
                f"the hooks of the transfer make {max(rows)} rows of {len(made)}, whose scores belong to no candidate: "
                "make them in training_step"
            )
        if self._known.regions is not None and form.regions is None:  # the hooks left them out
            if made.regions.shape[1:] != shape[2:]:
                raise InputError(
                    f"the hooks of the transfer change the images' size and leave out {dotted(self._known.regions)}, "
                    "which name the areas: keep them"
                )
            return {**labels, "regions": made.regions}
        device = next(iter(labels.values())).device
        blank = torch.zeros((), dtype=torch.uint8, device=device).expand(shape)
        return {**labels, "regions": self._regions(batch, form, labels, blank, sizes, len(self.names(areas)), False)}

    def input(self, batch: Any) -> Any:
        """What a model's forward takes: the images as they are."""
        images = get(batch, self._form_of(batch).image)
        return list(images) if isinstance(images, tuple) else images

    def _form_of(self, batch: Any) -> Form:
        """The known form where the batch has it; hooks may have made another container of it, with other names."""
        form = self._known
        there = all(leads(batch, path) for path in (form.image, form.label, form.regions or ()))
        return form if there else self.keys.found(batch, hooked=True)

    def _look(self, batch: Any) -> Form:
        """The form of the first batch, and what is told of it."""
        form, keys = self.keys.found(batch), self.keys
        images = get(batch, form.image)
        self.pixels.look(images)
        extra = images[0].shape[-3] > len(self.pixels.channels or ())
        unplaced = form.unplaced(batch)
        self.movable = not unplaced and not extra
        if keys.image is None or keys.regions is None or images[0].dtype != torch.uint8:  # something was found
            value = f"in [0, {self.pixels.scale:g}]" + (" after undoing mean and std" if self.pixels.normalised else "")
            self.told.append(
                f"images: {dotted(form.image)}, {str(images[0].dtype).removeprefix('torch.')} {value}; "
                f"labels: {form.labels}; regions: {form.areas}"
            )
        if unplaced:
            self.told.append(
                f"new frames are off: {', '.join(unplaced[:3])} has a place in the image that is not known; name label "
                "maps in View(maps=...), or the part that is mined in View(part=...)"
            )
        elif extra:
            self.told.append("new frames are off: the images have further channels, which stay where they are")
        return form

    # Images

    def _levels(self, images: Any) -> tuple[Tensor, Tensor | None, list[Any]]:
        """Levels of all images in one tensor, how much of it each fills, and their sizes."""
        size_of(images, dotted(self._known.image))
        self.pixels.look(images)
        sizes = [tuple(image.shape[-2:]) for image in images]
        if isinstance(images, Tensor):
            return self.pixels.levels(images).contiguous(), None, sizes
        if len(set(sizes)) == 1:
            return torch.stack([self.pixels.levels(image) for image in images]), None, sizes
        height, width = (max(side) for side in zip(*sizes, strict=True))
        made = images[0].new_zeros((len(images), 3, height, width), dtype=torch.uint8)
        for row, image in enumerate(images):
            made[row, :, : sizes[row][0], : sizes[row][1]] = self.pixels.levels(image)
        extent = torch.tensor(sizes, dtype=torch.float64) / torch.tensor([height, width])
        return plain_tensor(made), extent.float(), sizes

    # Labels

    def _labels(self, batch: Any, form: Form, shape: torch.Size, sizes: list[Any]) -> dict[str, Tensor]:
        label = get(batch, form.label)
        if form.kind == "boxes":
            objects = objects_of(label) if form.objects else padded_objects(label)
            if self._looks(objects["boxes"]):
                look_at_boxes(objects["boxes"], objects["labels"])
            return objects
        if form.kind == "classes":
            target = classes_of(label, len(sizes))
            ignored = self._ignored_class
            return {"target": target if ignored is None else target.masked_fill(target == ignored, -1)}
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
        form: Form,
        labels: dict[str, Tensor],
        image: Tensor,
        sizes: list[Any],
        count: int,
        checked: bool = True,
    ) -> Tensor:
        shape = (len(image), *image.shape[2:])
        if form.whole:
            regions = torch.zeros(shape, dtype=torch.uint8, device=image.device)
        elif form.regions is not None:
            regions = self._as_areas(self._label_map(get(batch, form.regions), image.shape[2:], sizes), count, checked)
        elif form.kind == "masks":
            regions = self._as_areas(labels["target"], count, checked)
        else:
            classes = labels["labels"]
            if checked and self._looks(classes) and bool((classes >= count - 1).any()):
                raise InputError(
                    f"{count - 1} areas are named, labels 0 to {count - 2}, and a box has label {int(classes.max())}: "
                    "name every class in label order, with background first where labels begin at 1"
                )
            regions = boxes_as_areas(labels["boxes"], classes, shape, count)
        return regions.masked_fill(padding(sizes, regions), VOID)

    def _as_areas(self, labels: Tensor, count: int, checked: bool) -> Tensor:
        if checked and self._looks(labels):
            strange = labels[(labels != VOID) & ((labels < 0) | (labels >= count))]
            if len(strange):
                raise InputError(
                    f"{count} areas are named, labels 0 to {count - 1}, and a label map has label {int(strange[0])}: "
                    "name every area in label order, or give View(ignore_index=...)"
                )
        if labels.dtype == torch.uint8:
            return labels
        return torch.where((labels >= 0) & (labels < count), labels, VOID).byte()

    def _looks(self, labels: Tensor) -> bool:
        """Whether this batch's labels are looked at."""
        if labels.device.type == "cpu":
            return True
        self._checks -= 1
        return self._checks >= 0

    # Writing

    def take(self, batch: Any, rows: Tensor) -> Any:
        """A batch of other rows, each as often as (N,) int64 `rows` on the CPU names it."""
        count = len(get(batch, self._known.image))
        root = self._known.root
        return put(batch, root, rows_of(get(batch, root), rows, count, outermost=True))

    def halved(self, batch: Any) -> Any:
        """A batch of images, and of label maps, at half their size; of labels that are boxes, these stay."""
        form = self._known
        maps = [form.label if form.kind == "masks" else None, form.regions, *form.maps.values()]
        for path in dict.fromkeys(path for path in maps if path is not None):
            batch = put(batch, path, halved_maps(get(batch, path)))
        return put(batch, form.image, halved_images(get(batch, form.image)))

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
            new: Any = self.pixels.written(images, scenes.image, made.image)
        else:
            parts = []
            for row, image in enumerate(images):
                inside = row, ..., slice(image.shape[-2]), slice(image.shape[-1])
                parts.append(self.pixels.written(image, scenes.image[inside], made.image[inside]))
            new = type(images)(parts)
        batch = put(batch, form.image, new)
        if made.regions is scenes.regions:
            return batch
        return self._moved(batch, scenes, made, form)

    def _moved(self, batch: Any, scenes: Scenes, made: Scenes, form: Form) -> Any:
        """Labels that moved with the image."""
        if form.kind == "masks":
            old, new = scenes.labels["target"], made.labels["target"]
            batch = put(batch, form.label, map_like(get(batch, form.label), old, new, self.ignore_index))
        elif form.kind == "boxes":
            batch = put_objects(batch, form.label, form.objects, scenes, made)
        if form.regions is not None:
            old = get(batch, form.regions)
            batch = put(batch, form.regions, map_like(old, scenes.regions, made.regions, self.ignore_index))
        for name, path in form.maps.items():
            batch = put(batch, path, map_like(get(batch, path), scenes.labels[name], made.labels[name], VOID))
        return batch


def _void_alone(target: Tensor) -> bool:
    """A mask as a picture, 0 and 255, would be learnt from nowhere but its background.

    Args:
        target: label maps (B, H, W).

    Returns:
        Whether they might still be such.

    Raises:
        InputError: they have both values and no other.
    """
    if bool(((target > 0) & (target < VOID)).any()):
        return False
    if bool((target == 0).any() & (target == VOID).any()):
        raise InputError(
            "view: label maps of 0 and 255 alone, and 255 is what is not learnt: divide them by 255 where it is the "
            "foreground, or give the label that is not learnt, View(ignore_index=...)"
        )
    return True
