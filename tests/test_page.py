"""`hardmine report`: one file that shows what came of a run, a search or an evaluation."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from conftest import make_store
from PIL import Image

from hardmine.cli import main
from hardmine.cli.report import report_of, told_apart
from hardmine.errors import InputError
from hardmine.memory.graph import Graph
from hardmine.memory.ledger import Ledger
from hardmine.records import Recipe, Verdict
from hardmine.report.evaluation import Evaluation, Hard
from hardmine.report.page import Axes, color, ink, ticks, write_page
from hardmine.report.subject import Cell, Curve, Panel, Point, Sheet, Subject, compared, made, read_subject
from hardmine.whatif import what_if

EVIL = '<script>alert("x")</script>&\'"'
VOID = {"meta", "img", "input", "br"}


class Page(HTMLParser):
    """What a browser would meet; tags must close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.text += data

    def count(self, tag: str, **wanted: str) -> int:
        return sum(name == tag and all(of.get(key) == value for key, value in wanted.items()) for name, of in self.tags)


def page_of(path: Path) -> Page:
    return Page(path.read_text())


def subject(name: str = "one") -> Subject:
    panel = Panel("road", "mean_L", "std_L", [Point(1, 2, 0.5, EVIL), Point(3, 4, None, "hollow")], (10.0, 10.0))
    table = Sheet("table", ["environment"], ["road"], [((EVIL,), [Cell("50.0", 0.5, EVIL)])])
    curves = [Curve("loss", "step", {EVIL: [(0, 1.0), (1, float("nan")), (2, 0.5)]}), Curve("empty", "step", {})]
    return Subject(
        name, "training run", [("pieces", EVIL)], [table], [panel], curves, [("gone", "3")],
        settings=[("data.root", EVIL, "null")], metrics={"val/miou": 0.5}, notes=[EVIL],
    )  # fmt: skip


def test_the_page_stands_alone_and_what_is_put_in_is_escaped(tmp_path: Path) -> None:
    write_page(tmp_path / "report.html", [subject(EVIL)], [("torch", EVIL)])
    text, page = (tmp_path / "report.html").read_text(), page_of(tmp_path / "report.html")
    assert page.count("script") == 1 and EVIL in page.text
    assert not any("src" in of and not str(of["src"]).startswith("data:") for _, of in page.tags)
    assert not any("href" in of for _, of in page.tags) and "url(" not in text and "@import" not in text
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)
    policy = next(of for tag, of in page.tags if of.get("http-equiv") == "Content-Security-Policy")
    assert str(policy["content"]).startswith("default-src 'none'") and "script-src 'sha256-" in str(policy["content"])
    assert page.count("circle", **{"class": "unused"}) == 1 and page.count("polyline") == 1


def test_the_machine_is_that_of_the_run() -> None:
    one = {"began": "2030-01-01T10:00:00+01:00", "hardmine": "1", "python": "3", "torch": "2", "device": "A"}
    assert made([None]) == made([]) == made([{"version": "0.2.0"}]) == [("made on", "not recorded")]
    assert made([one, one]) == [("began", one["began"]), ("made on", "A (hardmine 1, torch 2, Python 3)")]
    assert made([one, {**one, "device": "B", "processes": 4}])[1][1].endswith(
        "; then B, 4 processes (hardmine 1, torch 2, Python 3)"
    )


def test_runs_that_are_called_alike_are_told_apart() -> None:
    """Those of a sweep are 0/1 and 1/1, of trial and seed."""
    assert told_apart([Path("a/run")]) == ["run"] and told_apart([Path("a/run"), Path("a/other")]) == ["run", "other"]
    assert told_apart([Path("a/0/1"), Path("a/1/1")]) == ["0/1", "1/1"]
    assert told_apart([Path("a/0/1"), Path("b/0/1")]) == ["a/0/1", "b/0/1"]
    assert told_apart([Path("a"), Path("a")]) == ["a", "a"] and told_apart([Path("/")]) == ["/"]


def test_two_stand_side_by_side(tmp_path: Path) -> None:
    one, other = subject("one"), subject("other")
    other.metrics = {"val/miou": 0.75, "test/miou": 0.1}
    write_page(tmp_path / "report.html", [one, other])
    page = page_of(tmp_path / "report.html")
    assert page.count("article") == 2 and "Side by side" in page.text and "+25.0" in page.text
    assert "test/miou" in page.text  # though one alone has it


def test_what_one_alone_was_measured_in_is_beside_nothing() -> None:
    one, other = subject("one"), subject("other")
    one.metrics = {"test/miou": 0.5, "val/miou": 0.4, "val/loss": 0.25}
    other.metrics = {"test/miou/night": 0.125, "test/miou": 0.25, "val/miou": float("nan")}
    sheet = compared(one, other)
    assert sheet is not None
    assert [(labels[0], *(cell.text for cell in cells)) for labels, cells in sheet.rows] == [
        ("test/miou", "50.0", "25.0", "-25.0"),
        ("test/miou/night", "", "12.5", ""),  # with its split
        ("val/miou", "40.0", "", ""),
        ("val/loss", "25.0", "", ""),
    ]
    one.metrics, other.metrics = {}, {}
    assert compared(one, other) is None


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-3, 8), (0, 1e-4), (1e5, 3e6), (0.1, 0.11)])
def test_ticks_are_few_and_inside(low: float, high: float) -> None:
    found = ticks(low, high)
    assert 2 <= len(found) <= 9 and all(low <= value <= high for value in found)


@pytest.mark.parametrize("values", [[], [1.0], [0.0, 0.0], [float("nan"), 2.0], [-1.0, 5.0]])
def test_what_is_drawn_lies_in_the_drawing(values: list[float]) -> None:
    axes = Axes(values, values)
    known = [value for value in values if value == value]
    assert all(0 <= axes.x(value) <= axes.width and 0 <= axes.y(value) <= axes.height for value in known)


def test_colors_are_ordered_by_lightness_and_texts_on_them_can_be_read() -> None:
    def light(code: str) -> float:
        levels = [int(code[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in levels]
        return float(np.dot([0.2126, 0.7152, 0.0722], linear))

    steps = [light(color(value)) for value in np.linspace(0, 1, 21)]
    assert steps == sorted(steps)
    for value, of in zip(np.linspace(0, 1, 21), steps, strict=True):
        contrast = (of + 0.05) / 0.05 if ink(value) == "#000" else 1.05 / (of + 0.05)
        assert contrast >= 4.5


def ledger_of(folder: Path, candidates: int, regions: int = 4) -> None:
    generator = torch.Generator().manual_seed(0)
    rows = Recipe.clean(torch.arange(candidates) % 100, torch.zeros(candidates).long(), regions, 6)
    piece = torch.where(torch.arange(candidates) % 2 == 0, torch.arange(candidates) // 2, -1)
    rows = rows.replace(piece=piece, target=torch.randint(0, 6, (candidates, regions), generator=generator).int())
    score = torch.rand(candidates, generator=generator)
    gate = torch.where(torch.arange(candidates) % 7 == 3, 1, -1)
    step = torch.arange(candidates) // 8
    ledger = Ledger(folder / "ledger")
    ledger.append(rows, Verdict(score, score[:, None].expand(-1, regions), piece >= 0, gate, step, score))
    ledger.flush()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A folder as a mined run leaves it, with 100,000 pieces."""
    folder = tmp_path / "big"
    store = make_store(environment={"time": ["day", "day", "night", "night", "night", "dusk"]})
    folder.mkdir()
    store.save(folder / "store.parquet")
    graph = Graph(store)
    graph.uses[:3] = 2
    graph.accuracy[:3] = 0.25
    graph.save(folder / "graph.parquet", store)
    ledger_of(folder, 200_000)
    summary = {"pieces": 100_000, "candidates": 200_000, "hit_rate": 0.5, "steps": 9, "seconds": 3.5, "refused": 4}
    metrics = {"val/miou": 0.5, "val/miou/day": 0.75, "test/iou/road": None, "before/val/miou": 0.25}
    (folder / "summary.json").write_text(json.dumps({**summary, **metrics}))
    noise = np.random.default_rng(0).integers(0, 256, (700, 1000, 3), dtype=np.uint8)
    (folder / "pictures").mkdir()
    Image.fromarray(noise).save(folder / "pictures/hardest.png", compress_level=0)
    for number in range(20):
        (folder / f"pictures/step_{number:06d}.png").hardlink_to(folder / "pictures/hardest.png")
    return folder


def test_a_large_run_makes_a_small_page(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["report", str(run)])
    path = run / "report.html"
    assert capsys.readouterr().out.strip() == str(path)
    page = page_of(path)
    assert path.stat().st_size < 20e6
    assert "100000" in page.text and "The 20 hardest of 100000 pieces" in page.text
    assert "more sheets lie in the folder pictures" in page.text
    assert page.count("circle", **{"class": "unused"}) == 3 * 4  # targets, of three areas and the whole image
    assert "refused by gate 1" in page.text and "+25.0" in page.text


def test_an_evaluation_is_shown_with_its_intervals(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    score = rng.random((20, 3))
    light = what_if(["night"], ["road", "tree", "image"], np.arange(10).repeat(2), np.tile([-1, 0], 10), score)
    about = {"source": "val", "images": 10, "of": 10, "candidates": 10, "seconds": 1.0}
    areas = {"val": {"all": {"road": 0.5, "tree": None, "image": 0.25}}}
    hard = [Hard("p1", 0.1, 0.9, "night", 0.05)]
    Evaluation(about, "miou", {"val/miou": 0.5}, None, areas, light, hard).write(tmp_path)
    write_page(tmp_path / "report.html", [read_subject(tmp_path)])
    page = page_of(tmp_path / "report.html")
    told = [of["data-tell"] for tag, of in page.tags if tag == "td" and "data-tell" in of]
    assert len(told) == 3 and all("95 % interval" in str(each) and "10 images" in str(each) for each in told)
    assert "10 candidates of the 10 images" in page.text and "p1" in page.text
    labels, cells = read_subject(tmp_path).tables[0].rows[-1]  # what the rows above are compared with
    own = [f"{value * 100:.1f}" for value in score[::2].mean(0)]
    assert labels == ("as they are",) and [cell.text for cell in cells[:3]] == own


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "report: use hardmine report FOLDER"),
        (["a", "b", "c"], "report: use hardmine report FOLDER"),
        (["run=a"], "report: use hardmine report FOLDER"),
        (["nowhere"], "nowhere: no such folder"),
        (["."], "has neither summary.json nor evaluation.json"),
    ],
)
def test_what_is_no_run_is_refused(
    arguments: list[str], line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main(["report", *arguments])
    assert stopped.value.code == 2 and line in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["summary.json", "evaluation.json"])
@pytest.mark.parametrize("text", ["{", "[]", '{"format": 1}'])
def test_damaged_files_are_told(name: str, text: str, tmp_path: Path) -> None:
    if (name, text) == ("summary.json", '{"format": 1}'):
        return  # a summary may say anything
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=re.escape(name)):
        read_subject(tmp_path)


def test_a_page_that_cannot_be_made_costs_no_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "summary.json").write_text("{}")
    pq.write_table(pa.table({"nothing": [1]}), tmp_path / "graph.parquet")
    report_of(tmp_path, True)
    assert "no report was written" in caplog.text and not (tmp_path / "report.html").exists()
