"""The pages of `hardmine report` in headless Chromium: they say what they should, by pointer, keys and filters, to
whoever sees them, and no name that is put in them does anything."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import make_images
from PIL import Image
from selenium.webdriver import ActionChains, Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.support.select import Select

from hardmine.cli import main
from hardmine.machine import processor
from hardmine.report.album import Entry
from hardmine.report.page import write_page
from hardmine.report.subject import Cell, Curve, Panel, Point, Sheet, Subject

EVIL = '<script>window.hacked = 1</script><img src=x onerror="window.hacked = 1">&\'"'
AREAS = ("sky", "<img src=x onerror=window.hacked=1>", "tree")
WIDTHS = {"light": 1280, "dark": 1280, "phone": 390}
NET = ["model.encoder_name=tu-test_resnet", "+model.encoder_depth=3", "+model.decoder_channels=[8,8,8]"]
SHORT = ["trainer.max_steps=6", "trainer.val_check_interval=3", "trainer.accelerator=cpu", "data.batch_size=4", *NET]
MINED = ["mining.start=0", "mining.hardest=1", "mining.mined=0.5", "data.size=[32,40]"]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Of a run, an evaluation, two side by side and a sweep, made by the commands of data with hostile names."""
    here = tmp_path_factory.mktemp("pages")
    root, run, out = hostile(here / "photos"), here / "run", here / "found"
    main(["train", f"data.root={root}", *SHORT, *MINED, f"hydra.run.dir={run}"])
    given = ["trainer.accelerator=cpu", "pictures=1"]
    main(["evaluate", f"ckpt={run / 'checkpoints/last.ckpt'}", f"out={out}", *given])
    main(["report", str(run), str(out)])
    small = ["trainer.max_steps=1", "neighbourhood=none", "report=false", "~callbacks.before", "task.lr=0.1,0.01"]
    main(["train", "-m", f"data.root={root}", *SHORT, "data.size=[32,40]", *small, f"hydra.sweep.dir={here / 'sweep'}"])
    main(["report", str(here / "sweep")])
    both = run / "report_against_found.html"
    return {
        "run": run / "report.html",
        "evaluation": out / "report.html",
        "two": both,
        "sweep": here / "sweep/report.html",
    }


def hostile(root: Path) -> Path:
    """A folder in hardmine's layout, whose images, areas and environments have names that a page must not obey."""
    splits = ["train"] * 6 + ["val"] * 2 + ["target"] * 3 + ["test"] * 2
    images, regions = make_images(len(splits), areas=3, size=(32, 40), seed=1)
    for folder in ("images", "regions"):
        (root / folder).mkdir(parents=True)
    with (root / "metadata.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "split", "time"])
        for index, split in enumerate(splits):
            name = f"{index:02d} <img src=x onerror=window.hacked=1>"
            writer.writerow([name, split, "day" if split in ("train", "val") else f"night {EVIL}"])
            Image.fromarray(images[index].permute(1, 2, 0).numpy()).save(root / "images" / f"{name}.png")
            Image.fromarray(regions[index].numpy()).save(root / "regions" / f"{name}.png")
    (root / "classes.csv").write_text("index,name\n" + "".join(f"{n},{name}\n" for n, name in enumerate(AREAS)))
    return root


def show(browser: Chrome, page: Path, how: str = "light") -> None:
    """Open a page in a light or dark scheme, or on a phone."""
    scheme = {"name": "prefers-color-scheme", "value": "dark" if how == "dark" else "light"}
    size = {"width": WIDTHS[how], "height": 844, "deviceScaleFactor": 1, "mobile": how == "phone"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(page.as_uri())


def told(browser: Chrome) -> tuple[str, int]:
    """What the line at the bottom says, and how many pictures are beside it."""
    line = browser.find_element(By.ID, "told")
    return line.text, len(line.find_elements(By.CSS_SELECTOR, "img"))


def cards(browser: Chrome) -> list[Any]:
    return browser.find_elements(By.CSS_SELECTOR, ".card:not([hidden])")


@pytest.fixture
def page(tmp_path: Path) -> Callable[..., Path]:
    """A page of few things that are known, under any names."""

    def written(name: str = "one", night: str = "night", road: str = "road") -> Path:
        picture = b"RIFF"
        path = tmp_path / "picture.webp"
        Image.fromarray(np.full((4, 6, 3), 90, np.uint8)).save(path, "WEBP")
        picture = path.read_bytes()
        captions = ("source", "index image", f"target {night}", "converted", "prediction (10%)")
        entries = [
            Entry(f"piece {number}", where, [area], [area], 0.1 * number, 7, [f"{area}: t0; mean 3"], ["t0/sky"],
                  captions, [picture] * 5)
            for number, (where, area) in enumerate([(night, road), (night, "sky"), ("day", road), ("dusk", "sky")] * 4)
        ]  # fmt: skip
        points = [Point(1, 2, 0.5, f"t0, {night}", 0), Point(3, 4, None, "hollow"), Point(9, 2, 0.9, "t2, day", 2)]
        table = Sheet("table", ["environment"], [road], [((night,), [Cell("50.0", 0.5, f"{night}: half")])])
        subject = Subject(
            name, "training run", [("pieces", night)], [table], [Panel(road, "mean", "std", points, (2.0, 2.0))],
            [Curve("loss", "step", {night: [(0, 1.0), (1, float("nan")), (2, 0.5)]}), Curve("empty", "step", {})],
            [("gone", "3")], [], entries, ([road, "sky"], [road, "sky"]), [(0, 0.0), (2, 400.0)],
            settings=[("data.root", night, "null")], notes=[night],
        )  # fmt: skip
        write_page(tmp_path / "page.html", [subject], [("torch", night)])
        return tmp_path / "page.html"

    return written


def test_a_run_and_an_evaluation_of_it_leave_their_pages(pages: dict[str, Path]) -> None:
    run, found = pages["run"].read_text(), pages["evaluation"].read_text()
    assert "training run" in run and "hit rate" in run and "in other light" in found
    assert "trainer.max_steps" in run and "mining.candidates" not in run  # what is not the default
    assert processor() in run and "began" in run
    assert pages["two"].read_text().count("<article") == 2
    left = sorted(path.name for path in (pages["run"].parent / "checkpoints").iterdir())
    assert left == ["last.ckpt"]


_ABOUT = """
const seen = element => element.checkVisibility({ visibilityProperty: true }) && element.getClientRects().length;
const parse = color => color.match(/[\\d.]+/g).map(Number);
const linear = x => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4;
const light = color => color.slice(0, 3).map(x => linear(x / 255)).reduce(
  (sum, x, at) => sum + x * [0.2126, 0.7152, 0.0722][at], 0);
const behind = element => {
  for (let at = element; at; at = at.parentElement) {
    const color = parse(getComputedStyle(at).backgroundColor);
    if (color.length < 4 || color[3] > 0) return color;
  }
  return [255, 255, 255];
};
const pale = [];
for (const element of document.querySelectorAll("body *")) {
  if (["SCRIPT", "OPTION"].includes(element.tagName) || !seen(element)) continue;
  if (![...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim())) continue;
  const style = getComputedStyle(element), drawn = element instanceof SVGElement;
  const [a, b] = [light(parse(drawn ? style.fill : style.color)), light(behind(element))];
  const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (contrast < 4.5) pale.push(element.textContent.trim().slice(0, 40) + " " + contrast.toFixed(1));
}
return {
  pale,
  hacked: window.hacked ?? null,
  scripts: document.scripts.length,
  asked: performance.getEntriesByType("resource").map(each => each.name).filter(name => !name.startsWith("data:")),
  broken: [...document.images].filter(image => image.complete && !image.naturalWidth && image.src).length,
  wide: document.documentElement.scrollWidth - window.innerWidth,
  page: getComputedStyle(document.body).backgroundColor,
  nameless: [...document.querySelectorAll("[tabindex], select, input, button, summary, img")].filter(
    each => !(each.getAttribute("aria-label") || each.labels?.length || each.textContent.trim() || each.alt)).length,
};
"""


@pytest.mark.parametrize("kind", ["run", "evaluation", "two", "sweep"])
def test_every_page_is_whole_and_legible_in_any_scheme_and_on_a_phone(
    kind: str, pages: dict[str, Path], browser: Chrome
) -> None:
    shades = set()
    for how in WIDTHS:
        show(browser, pages[kind], how)
        found = browser.execute_script(_ABOUT)
        assert found["pale"] == [], how
        assert found["hacked"] is None and found["scripts"] == 1
        assert found["asked"] == [] and found["broken"] == 0  # no request to anybody, and all pictures are in it
        assert found["wide"] <= 0, how
        assert found["nameless"] == 0
        shades.add(found["page"])
    assert len(shades) == 2
    text = browser.find_element(By.TAG_NAME, "body").text
    assert kind == "sweep" or "<img src=x onerror=window.hacked=1>" in text  # the area, as it is called


def test_a_point_of_a_real_graph_shows_what_was_made_with_it(pages: dict[str, Path], browser: Chrome) -> None:
    show(browser, pages["run"])
    points = browser.find_elements(By.CSS_SELECTOR, "circle[data-entry]")
    assert points
    ActionChains(browser).move_to_element(points[0]).perform()
    said, pictures = told(browser)
    assert "accuracy" in said and "target" in said and "prediction at the end" in said and pictures == 6
    assert str(points[0].get_attribute("data-tell")) in said  # hostile names as they are


def test_pointer_and_keys_reach_the_points(page: Callable[..., Path], browser: Chrome) -> None:
    show(browser, page())
    _, hollow, last = sorted(
        browser.find_elements(By.CSS_SELECTOR, ".points circle"), key=lambda each: float(str(each.get_attribute("cx")))
    )
    ActionChains(browser).move_to_element(last).perform()
    assert told(browser)[0].startswith("t2, day") and told(browser)[1] == 5
    assert browser.find_elements(By.CSS_SELECTOR, ".reach")
    ActionChains(browser).move_to_element(hollow).perform()
    assert told(browser) == ("hollow", 0)
    browser.find_element(By.ID, "filter").click()
    for _ in range(9):  # by the Tab key alone
        ActionChains(browser).send_keys(Keys.TAB).perform()
        if "points" in (browser.switch_to.active_element.get_attribute("class") or ""):
            break
    assert told(browser)[0].startswith("t0, night") and told(browser)[1] == 5
    for said in ("hollow", "t2, day", "t0, night"):
        ActionChains(browser).send_keys(Keys.ARROW_RIGHT).perform()
        assert told(browser)[0].startswith(said)
    ActionChains(browser).send_keys(Keys.ESCAPE).perform()
    assert told(browser) == ("", 0) and not browser.find_elements(By.CSS_SELECTOR, ".reach")


def test_choices_and_words_filter_the_gallery(page: Callable[..., Path], browser: Chrome) -> None:
    show(browser, page())
    environment, area, _ = map(Select, browser.find_elements(By.CSS_SELECTOR, ".gallery select"))
    output, button = (browser.find_element(By.CSS_SELECTOR, f".gallery {each}") for each in ("output", "button"))
    assert len(cards(browser)) == 12 and output.text == "12 of 16 shown"
    assert [option.text for option in environment.options] == ["all", "day", "dusk", "night"]
    environment.select_by_visible_text("night")
    assert len(cards(browser)) == 8 and all("night" in card.text for card in cards(browser))
    assert not button.is_displayed()
    area.select_by_visible_text("sky")
    assert len(cards(browser)) == 4 and output.text == "4 of 4 shown"
    environment.select_by_visible_text("day")
    assert cards(browser) == [] and output.text == "0 of 0 shown"
    environment.select_by_visible_text("all")
    area.select_by_visible_text("all")
    button.click()
    assert len(cards(browser)) == 16
    field = browser.find_element(By.ID, "filter")
    field.send_keys("dusk, sky")
    assert len(cards(browser)) == 4 and not browser.find_element(By.CSS_SELECTOR, "tbody tr").is_displayed()
    field.clear()
    field.send_keys("hollow")
    assert len(browser.find_elements(By.CSS_SELECTOR, ".points circle:not([hidden])")) == 1


def test_names_are_shown_and_never_obeyed(page: Callable[..., Path], browser: Chrome) -> None:
    show(browser, page(EVIL, EVIL, EVIL))
    assert EVIL in browser.title and EVIL in browser.find_element(By.TAG_NAME, "h1").text
    environment = Select(browser.find_element(By.CSS_SELECTOR, ".gallery select"))
    environment.select_by_visible_text(EVIL)
    assert len(cards(browser)) == 8
    over = "arguments[0].dispatchEvent(new PointerEvent('pointerover', { bubbles: true, clientX: arguments[1] }))"
    for place, part in enumerate(browser.find_elements(By.CSS_SELECTOR, "[data-tell]")):
        browser.execute_script(over, part, place + 1)
        assert str(part.get_attribute("data-tell")) in told(browser)[0]
    found = browser.execute_script(_ABOUT)
    assert found["hacked"] is None and found["scripts"] == 1 and found["broken"] == 0


def test_the_page_runs_no_script_but_its_own(page: Callable[..., Path], browser: Chrome) -> None:
    path = page()
    path.write_text(path.read_text().replace("</body>", "<script>window.hacked = 1</script></body>"))
    show(browser, path)
    assert browser.execute_script("return window.hacked ?? null") is None
    assert len(cards(browser)) == 12  # its own one ran
    refused = [entry["message"] for entry in browser.get_log("browser")]  # type: ignore[no-untyped-call]
    assert len(refused) == 1 and "Content Security Policy" in refused[0]
