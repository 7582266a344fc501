"""The page: what a person sets, and what came of it. What is computed, `explorer.py` and `shown.py` say."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from nicegui import background_tasks, run, ui
from nicegui.events import GenericEventArguments, UploadEventArguments, ValueChangeEventArguments

from hardmine.data.upload import MOST_BYTES, Uploaded
from hardmine.errors import InputError
from hardmine.explore import kept
from hardmine.explore.explorer import Explorer, Light, Opened, bounds
from hardmine.explore.images import Images
from hardmine.explore.shown import Found, found
from hardmine.files import unwritten
from hardmine.report.sheet import COLUMNS, Target
from hardmine.space import in_words
from hardmine.store.environment import EnvironmentTable, Order

_MOST = 5000  # names in a list of choices
_EVERY = "every environment"
_TYPES = "image/png,image/jpeg,image/bmp,image/tiff,image/webp,.ppm,.pgm"
_Made = TypeVar("_Made")
_log = logging.getLogger("hardmine")
_STYLE = (Path(__file__).parent / "page.css").read_text()


class Page:
    """What all browsers that open the page have in common.

    Args:
        explorer: puts images into light.
        images: that can be looked at.
        target: images of the targets.
        folder: that recipes are kept in.
        about: where the model is from, kept with each recipe.
        order: see `EnvironmentTable`.
        policy: class of the neighbourhood that is shown first.
    """

    def __init__(
        self,
        explorer: Explorer,
        images: Images,
        target: Target,
        folder: Path,
        about: Mapping[str, str],
        order: Order | None,
        policy: str,
    ) -> None:
        self.explorer, self.images, self.target, self.folder, self.about = explorer, images, target, folder, about
        store = explorer.store
        self.environments = {_EVERY: [*range(len(store))]}
        if store.environment:
            table = EnvironmentTable(store, order)
            for number, name in enumerate(table.cells):
                if rows := (table.cell == number).nonzero().flatten().tolist():
                    self.environments[name] = rows
        named = {type(each).__name__: name for name, each in explorer.policies.items()}
        self.policy = named.get(policy.rsplit(".", 1)[-1], next(iter(explorer.policies)))
        self.kept = 0  # recipes, by this process

    def build(self) -> None:
        """Put it together, for each browser that opens it."""
        Tab(self).build()

    @property
    def told(self) -> str:
        """The line at the end."""
        some = f": {self.kept} recipes kept in {self.folder}" if self.kept else ""
        return f"explore: ended{some}"


class Tab:
    """The page in one browser.

    Args:
        page: what all have in common.
    """

    def __init__(self, page: Page) -> None:
        self.page, self.explorer, self.images = page, page.explorer, page.images
        self.store = self.explorer.store
        self.regions = (*self.store.areas, "whole image")
        self.opened: Opened | None = None
        self.light: Light | None = None
        self.named = {"split": "", "image": ""}  # what is looked at
        self.before: list[Light] = []  # to go back to
        self.found: Found | None = None
        self.handed: Uploaded | None = None  # an image that may wait for its index image
        self._setting = False  # controls are set by the program, not by a person
        self._wanted = self._shown = 0
        self._following = False

    # What is to be seen

    def build(self) -> None:
        """All controls and, beside them, what came of them."""
        ui.add_css(_STYLE)
        with ui.element("header"):
            ui.html("hardmine explore", sanitize=False, tag="h1")
            ui.label(str(self.page.about["ckpt"])).classes("about")
        with ui.element("div").classes("desk"):
            with ui.element("form").classes("controls").on("submit.prevent"):
                self._of_image()
                self._of_target()
                self._of_light()
                self._of_neighbours()
                self._of_recipes()
            with ui.element("section").classes("results").props('aria-label="what came of it"') as self.results:
                self.status = ui.label("opening").classes("status").props("role=status aria-live=polite")
                self.accuracy = ui.label("").classes("accuracy").props("role=status aria-live=polite")
                with ui.element("div").classes("pictures"):
                    self.pictures = [self._picture(name) for name in COLUMNS]
                self.table = ui.html("", sanitize=False).classes("accuracies")
        ui.timer(0, lambda: self._open(next(iter(self.images.splits)), 0), once=True)

    def _picture(self, name: str) -> tuple[Any, Any]:
        with ui.element("figure").classes("drawn" if name in ("index image", "prediction") else ""):
            picture = ui.element("img").props(f'alt="{name}"')
            with ui.element("figcaption"):
                caption = ui.label(name)
        return picture, caption

    @contextmanager
    def _group(self, title: str) -> Iterator[None]:
        with ui.element("fieldset"):
            ui.html(title, sanitize=False, tag="legend")
            yield

    def _of_image(self) -> None:
        with self._group("Image"):
            self.split = ui.select([*self.images.splits], label="Split", on_change=self._split_chosen)
            self.image = ui.select({}, label="Image", with_input=True, on_change=self._image_chosen)
            with ui.element("div").classes("buttons"):
                _button("Previous image", lambda: self._step_image(-1))
                _button("Next image", lambda: self._step_image(1))
            with ui.expansion("An image of your own"):
                uploads = self.images.uploads
                if uploads.takes_index:
                    also = "is needed too" if uploads.needs_index else "may follow"
                    ui.label(f"Its index image {also}: the number of an area in each pixel, 255 void.")
                self.label = None
                if self.images.labelled:
                    names = {-1: "not known", **dict(enumerate(self.images.classes))}
                    self.label = ui.select(names, label="Its class", value=-1)
                self._upload("Upload an image", self._image_handed)
                if uploads.takes_index:
                    self._upload("Upload its index image", self._index_handed)

    def _upload(self, title: str, take: Callable[[str, bytes], Any]) -> None:
        async def handed(event: UploadEventArguments) -> None:
            upload.reset()
            await take(event.file.name[:80], await event.file.read())

        upload = ui.upload(
            max_file_size=MOST_BYTES,
            on_upload=handed,
            on_rejected=lambda: self._say(f"refused: no image, or more than {MOST_BYTES >> 20} MB", bad=True),
            auto_upload=True,
        )
        upload.props(f'accept="{_TYPES}"').classes("hidden-upload").props(f'data-upload="{title}"')
        _button(title, None).on("click", js_handler=f"() => getElement({upload.id}).pickFiles()")

    def _of_target(self) -> None:
        with self._group("Target"):
            self.environment = ui.select(
                {name: f"{name} ({len(rows)})" for name, rows in self.page.environments.items()},
                label="Environment",
                value=_EVERY,
                on_change=self._environment_chosen,
            )
            self.target = ui.select(
                self._targets(_EVERY), label="Target", with_input=True, on_change=self._target_chosen
            )

    def _targets(self, environment: str) -> dict[int, str]:
        return _some({row: self.store.ids[row] for row in self.page.environments[environment]})

    def _of_light(self) -> None:
        with self._group("Converted areas"):
            self.areas = [
                ui.checkbox(name, on_change=lambda event, region=region: self._area_chosen(region, event.value))
                for region, name in enumerate(self.regions)
            ]
        with self._group("Light"):
            self.region = ui.select(
                dict(enumerate(self.regions)), label="Area to move", value=0, on_change=self._set_controls
            )
            self.sliders, self.values = [], []
            for number, axis in enumerate(self.explorer.axes):
                low, high = bounds(axis)
                name = in_words(axis.name)
                self.values.append(ui.label(name).classes("value"))
                step = 0.5 if axis.measured else (high - low) / 100
                self.sliders.append(_Slider(name, low, high, step, partial(self._moved, number)))
            if self.explorer.colored:
                self.share = ui.label("strength").classes("value")
                self.strength = _Slider("strength in %", 0, 100, 1, self._strength_set)

    def _of_neighbours(self) -> None:
        with self._group("Neighbours"):
            self.policy = ui.select([*self.explorer.policies], label="Neighbourhood", value=self.page.policy)
            with ui.element("div").classes("buttons"):
                _button("Next neighbour", self._neighbour)
                _button("Back", self._back)

    def _of_recipes(self) -> None:
        with self._group("Recipe"):
            self.name = ui.input("Name").props("maxlength=100")
            with ui.element("div").classes("buttons"):
                _button("Keep the recipe", self._keep)
            self.again = ui.select(
                kept.names(self.page.folder)[:_MOST], label="Kept recipes", on_change=self._kept_chosen
            )

    # What a person does

    async def _split_chosen(self, event: ValueChangeEventArguments[Any]) -> None:
        if not self._setting and event.value:
            await self._open(event.value, 0)

    async def _image_chosen(self, event: ValueChangeEventArguments[Any]) -> None:
        if not self._setting and event.value is not None:
            await self._open(self.split.value, event.value)

    async def _step_image(self, step: int) -> None:
        split = self.split.value
        number = -step if self.image.value is None else self.image.value
        await self._open(split, (number + step) % len(self.images.splits[split]))

    async def _open(self, split: str, number: int) -> None:
        images = self.images.splits[split]
        opened = await self._done(lambda: self.explorer.open(self.images.batch(split, number)))
        if opened is None:
            return
        with self._set():
            self.split.value = split
            self.image.set_options(_some(dict(enumerate(images.ids)), number), value=number)
        self._opened(opened, split, images.ids[number])

    def _opened(self, opened: Opened, split: str, image: str) -> None:
        """A new image: the light goes on, where there was one."""
        self.opened, self.named = opened, {"split": split, "image": image}
        if self.light is None:
            with self._set():
                self.target.value = target = min(self.target.options)
            self.light = self.explorer.of_target(opened, target)
        self.before.clear()
        self.name.value = kept.free_name(self.page.folder, f"{split}_{image}" if split else image)
        self._say(f"{' '.join(filter(None, (split, image)))} is open")
        self._changed()

    async def _image_handed(self, name: str, content: bytes) -> None:
        uploads = self.images.uploads
        self.handed = await self._done(lambda: uploads.image(name, content))
        if self.handed is not None and uploads.needs_index:
            self._say(f"{name}: upload its index image now")
        elif self.handed is not None:
            await self._open_handed(None)

    async def _index_handed(self, name: str, content: bytes) -> None:
        if self.handed is None:
            self._say("upload the image first, then its index image", bad=True)
            return
        index = await self._done(lambda: self.images.uploads.index(name, content))
        if index is not None:
            await self._open_handed(index)

    async def _open_handed(self, index: Uploaded | None) -> None:
        image, label = self.handed, None if self.label is None or self.label.value < 0 else self.label.value
        assert image is not None

        def opened() -> Opened:
            return self.explorer.open(self.images.of_sample(self.images.uploads.sample(image, index, label)))

        if (made := await self._done(opened)) is not None:
            with self._set():
                self.image.value = None
            self._opened(made, "", Path(image.name).stem)

    def _environment_chosen(self, event: ValueChangeEventArguments[Any]) -> None:
        with self._set():
            self.target.set_options(self._targets(event.value), value=None)
        self.target.value = min(self.target.options)  # as a person would

    def _target_chosen(self, event: ValueChangeEventArguments[Any]) -> None:
        if self._setting or event.value is None or self.opened is None or self.light is None:
            return
        self._go(self.explorer.of_target(self.opened, event.value, self.light))

    def _area_chosen(self, region: int, wanted: bool) -> None:
        if not self._setting and self.light is not None:
            self.light = self.light.converting(region, wanted)
            self._changed()

    def _moved(self, axis: int, value: float) -> None:
        if self.light is not None:
            self.light = self.light.moved(self.region.value, axis, float(value))
            self._changed()

    def _strength_set(self, percent: float) -> None:
        if self.light is not None:
            self.light = self.light.at(percent / 100)
            self._changed()

    async def _neighbour(self) -> None:
        opened, light, policy = self.opened, self.light, self.policy.value
        if opened is None or light is None:
            return
        if not bool((light.chosen & opened.present).any()):
            self._say("nothing is converted: choose an area first", bad=True)
            return
        near = await self._done(lambda: [self.explorer.neighbour(opened, light, policy)])
        if near is None:
            return
        if near[0] is None:
            self._say(f"{policy}: no parameter is left near this one: choose another target", bad=True)
            return
        what = "a first parameter, as random knows no neighbours" if policy == "random" else "a neighbour"
        self._go(near[0])
        self._say(f"{policy}: {what}")

    def _back(self) -> None:
        if not self.before:
            self._say("there is nothing to go back to", bad=True)
            return
        self.light = self.before.pop()
        self._say("back")
        self._changed()

    async def _keep(self) -> None:
        opened, light, name, now = self.opened, self.light, self.name.value or "", self.found
        if opened is None or light is None or now is None:
            return

        def write() -> Path:
            about = {**self.page.about, **self.named, "strength": light.strength}
            about |= {"accuracy": _number(now.score), "clean": _number(now.clean)}
            return kept.keep(self.page.folder, name, self.store, self.explorer.recipe(opened, light), about)

        path = await self._done(write)
        if path is None:
            return
        self.page.kept += 1
        with self._set():
            self.again.set_options(kept.names(self.page.folder)[:_MOST], value=None)
        image = self.named["image"]
        self.name.value = kept.free_name(
            self.page.folder, f"{self.named['split']}_{image}" if self.named["split"] else image
        )
        self._say(f"kept: {path}")

    async def _kept_chosen(self, event: ValueChangeEventArguments[Any]) -> None:
        if self._setting or event.value is None:
            return
        path = self.page.folder / f"{event.value}.parquet"
        recipe = await self._done(lambda: kept.read(path, self.store.areas, self.store.space))
        if recipe is None or self.opened is None:
            return
        split, image = (str(recipe.about.get(key, "")) for key in ("split", "image"))
        there = self.images.splits[split].ids if split in self.images.splits else ()
        if image in there and self.named != {"split": split, "image": image}:
            await self._open(split, there.index(image))
        start = self.explorer.unconverted(self.opened)
        self._go(start.taking(recipe.chosen, recipe.parameter))
        other = "" if image in there else f"; it was kept on {image}, which is not here"
        self._say(f"{recipe.name}: as it was kept{other}")

    # What comes of it

    def _go(self, light: Light) -> None:
        if self.light is not None:
            self.before = [*self.before[-99:], self.light]
        self.light = light
        self._changed()

    def _changed(self) -> None:
        """Controls show the light, and the pictures follow; of many changes in a moment the last one counts."""
        self._set_controls()
        self._wanted += 1
        if not self._following:
            self._following = True
            background_tasks.create(self._follow(), name="converting", context=self.results)

    async def _follow(self) -> None:
        try:
            self.results.props["aria-busy"] = "true"
            while self._shown != self._wanted:
                wanted, opened, light = self._wanted, self.opened, self.light
                assert opened is not None and light is not None
                now = await self._done(
                    lambda opened=opened, light=light: found(  # type: ignore[misc]
                        self.explorer, opened, light, self.page.target, self.images.classes
                    )
                )
                self._shown = wanted
                if now is not None:
                    self._show(now)
        finally:
            self.results.props["aria-busy"] = "false"
            self._following = False

    def _show(self, now: Found) -> None:
        self.found = now
        for (picture, caption), source, words in zip(self.pictures, now.pictures, now.captions, strict=True):
            if picture.props.get("src") != source:
                picture.props["src"] = source
            picture.props["alt"] = caption.text = words
        self.accuracy.text, self.table.content = now.accuracy, now.table

    def _set_controls(self) -> None:
        opened, light, region = self.opened, self.light, self.region.value
        if opened is None or light is None:
            return
        with self._set():
            for number, box in enumerate(self.areas):
                box.value = bool(light.chosen[number])
                box.set_enabled(bool(opened.present[number]))
            row = int(light.target[region])
            for number, (axis, slider, label) in enumerate(
                zip(self.explorer.axes, self.sliders, self.values, strict=True)
            ):
                value = float(light.parameter[region, number])
                slider.set(value)
                said = [f"{in_words(axis.name)}: {value:.1f}"]
                if opened.own is not None and bool(opened.present[region]):
                    said.append(f"the image's own {float(opened.own[region, number]):.1f}")
                label.text = ", ".join(said)
            if self.explorer.colored:
                self.strength.set(light.strength * 100)
                self.share.text = f"strength: {light.strength:.0%}"
            if row >= 0 and row in self.target.options:
                self.target.value = row

    @contextmanager
    def _set(self) -> Iterator[None]:
        """What is set inside, no person has set."""
        before, self._setting = self._setting, True
        try:
            yield
        finally:
            self._setting = before

    async def _done(self, work: Callable[[], _Made]) -> _Made | None:
        """Done beside the page; None where it could not be, which is told in a line."""
        try:
            return await run.io_bound(work)
        except InputError as error:
            self._say(error.keyed, bad=True)
        except Exception as error:  # the page stays as it was
            line = unwritten(error, self.page.folder)
            if line is None:
                _log.exception("hardmine: explore")
            self._say(line or f"it went wrong: {type(error).__name__}: {error}", bad=True)
        return None

    def _say(self, line: str, bad: bool = False) -> None:
        self.status.text = " ".join(line.split())
        self.status.classes(add="bad" if bad else "", remove="" if bad else "bad")


def _button(title: str, do: Callable[[], Any] | None) -> Any:
    return ui.button(title, on_click=do).props("no-caps outline type=button")


class _Slider:
    """The browser's own, which says its name and value to whoever does not see it.

    Args:
        name: for those.
        low, high, step: of what can be set.
        do: takes what a person has set.
    """

    def __init__(self, name: str, low: float, high: float, step: float, do: Callable[[float], None]) -> None:
        self._element = ui.element("input").props(f'type=range aria-label="{name}" min={low} max={high} step={step}')
        self._element.on("input", self._moved, js_handler="(event) => emit(event.target.value)", throttle=0.05)
        self._do = do

    def set(self, value: float) -> None:
        """Show another value; nobody has moved it."""
        if self._element.props.get("value") != value:
            self._element.props["value"] = value

    def _moved(self, event: GenericEventArguments) -> None:
        value = float(event.args)
        with self._element.props.suspend_updates():  # the browser shows it already
            self._element.props["value"] = value
        self._do(value)


def _some(names: Mapping[int, str], and_this: int | None = None) -> dict[int, str]:
    """As many as a list of choices has room for."""
    few = dict(list(names.items())[:_MOST])
    return few if and_this is None or and_this in few else {**few, and_this: names[and_this]}


def _number(value: float) -> float | None:
    return None if value != value else value
