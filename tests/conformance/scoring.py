"""R22 to R27: recognition accuracy, what is output, and with which labels."""

import json
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

from conformance import world
from conformance.conversion import ALL, alike, lab_of, made_again
from conformance.neighbourhood import TH1, experiments, frozen, searches
from conformance.replay import target_of
from conformance.runs import WHOLE, Array, Run, Runs, pixels, rows_of

WEIGHTS = {name: value.numpy().astype(float) for name, value in world.by_brightness().items()}
PIXEL = 1.01 / 480  # the share of one pixel


def logits(image: Array) -> Array:
    """(H, W, C) of `world.Pixels`, by hand."""
    mean, deviation = world.NORMAL
    weight, bias = WEIGHTS["weight"][..., 0, 0], WEIGHTS["bias"]
    return np.asarray((image / 255 - mean) / deviation @ weight.T + bias)


def accuracy(image: Array, regions: Array, area: int | None = None) -> float:
    """Correct pixels / all pixels that have a label, of the image or of one area."""
    counted = regions < WHOLE if area is None else regions == area
    return float((logits(image).argmax(-1) == regions)[counted].mean())


def every_image_is_scored_with_the_stored_model(runs: Runs) -> None:
    """Correct pixels / all pixels, as counted here on the image that was output, and on easy ones made again."""
    run = frozen(runs)
    assert len(run.ledger) == run.summary["candidates"] and not np.isnan(run.ledger.score).any()
    traced = [float(row["accuracy"]) for row in run.trace if row["step"] == "S122"]
    assert traced == pytest.approx(run.ledger.score.tolist(), abs=1e-6)
    place = run.ledger.row_of_piece
    for piece in run.pieces:
        image, regions, row = run.image(piece), run.regions(piece), place[int(piece["piece"])]
        assert run.ledger.score[row] == pytest.approx(accuracy(image, regions), abs=PIXEL)
        for area in np.unique(regions[regions < WHOLE]).tolist():
            share = (regions == area).sum()
            assert run.ledger.area_score[row, area] == pytest.approx(accuracy(image, regions, area), abs=1.01 / share)
    names = [row["id"] for row in rows_of(runs.photos / "metadata.csv") if row["split"] == "train"]
    easy = np.flatnonzero(run.ledger.piece < 0).tolist()
    assert len(easy) > 10
    for row in easy:
        image, regions = (
            pixels(runs.photos / f"{kind}/{names[run.ledger.source[row]]}.png") for kind in ("images", "regions")
        )
        assert run.ledger.score[row] == pytest.approx(accuracy(made_again(run, row, image, regions), regions), abs=0.02)


def objects(runs: Runs) -> Path:
    """The world with a class for each image, and boxes around sky and road."""
    root = runs.folder / "objects"
    if root.exists():
        return root
    root.mkdir()
    for name in ("images", "regions", "classes.csv"):
        (root / name).symlink_to(runs.photos / name)
    rows = rows_of(runs.photos / "metadata.csv")
    world.write_rows(root / "metadata.csv", [{**row, "label": world.AREAS[i % 3]} for i, row in enumerate(rows)])
    boxes: list[dict[str, object]] = []
    images: list[dict[str, object]] = []
    for number, row in enumerate(rows):
        images.append({"id": number, "file_name": f"{row['id']}.png", "width": world.WIDTH, "height": world.HEIGHT})
        for label, (left, top, right, bottom) in enumerate(world.Boxes.PLACES):
            box = [left, top, right - left, bottom - top]
            boxes.append({"id": len(boxes), "image_id": number, "category_id": label, "bbox": box})
    categories = [{"id": label, "name": name} for label, name in enumerate(("above", "below"))]
    text = json.dumps({"images": images, "annotations": boxes, "categories": categories})
    (root / "annotations.json").write_text(text)
    return root


def other_labels(runs: Runs, kind: str, task: str, network: str, *overrides: str) -> Run:
    model = ("~model", f"+model={{_target_: conformance.world.{network}, classes: ${{classes}}}}")
    given = (f"data.root={objects(runs)}", f"data.labels={kind}", f"task={task}", *model, *overrides)
    return runs.search(*given, *ALL, "stopping.max_pieces=12", "sources=false")


def accuracy_is_of_what_is_recognised(runs: Runs) -> None:
    """(a) the reliability of the recognised class; (b) the mean of the objects', or how many are; (c) pixels."""
    every_image_is_scored_with_the_stored_model(runs)
    classes = other_labels(
        runs,
        "classes",
        "classification",
        "Mean",
        "scoring=confidence",
        "scoring.of=recognised",
        f"ckpt={runs.of_mean()}",
    )
    for piece in classes.pieces:
        mean = logits(classes.image(piece)).mean((0, 1)) * world.SOFT
        reliability = np.exp(mean - mean.max()) / np.exp(mean - mean.max()).sum()
        row = classes.ledger.row_of_piece[int(piece["piece"])]
        assert classes.ledger.score[row] == pytest.approx(reliability.max(), abs=1e-3)
    for scoring in ("mean_reliability", "correct_rate"):
        boxes = other_labels(runs, "boxes", "detection", "Boxes", f"scoring={scoring}", f"ckpt={runs.of_boxes()}")
        found = set()
        for piece in boxes.pieces:
            image = boxes.image(piece) / 255
            each = np.array([image[int(top) : int(bottom)].mean() for _, top, _, bottom in world.Boxes.PLACES])
            expected = each.mean() if scoring == "mean_reliability" else (each >= 0.5).mean()
            row = boxes.ledger.row_of_piece[int(piece["piece"])]
            assert boxes.ledger.score[row] == pytest.approx(expected, abs=1e-3)
            found.add(round(float(expected), 3))
        assert len(found) > 1


def output_iff_strictly_below_the_threshold(runs: Runs) -> None:
    """Th1 = 0.7; images of which exactly 70 % are recognised are not output, by either experiment."""
    exact = 0
    for run in chain(searches(runs), experiments(runs)):
        below = run.ledger.score < np.float32(TH1)
        assert ((run.ledger.piece >= 0) == below).all()
        assert len(run.pieces) == below.sum() == run.summary["pieces"]
        assert sorted(run.ledger.piece[below].tolist()) == list(range(int(below.sum())))
        exact += int((run.ledger.score == np.float32(TH1)).sum())
    assert exact, "none lay on the threshold itself"


def an_easy_image_is_converted_again_with_another_parameter(runs: Runs) -> None:
    """It is not output; the same source comes next, with a parameter that it has not had, up to three times more."""
    for run in experiments(runs):
        ledger, had, before, again = run.ledger, dict[int, set[int]](), dict[int, int](), 0
        output = {int(row["piece"]) for row in run.pieces}
        easy = dict[int, int]()
        for row in range(len(ledger)):
            source, target = int(ledger.source[row]), target_of(run, row)
            if ledger.parent[row] < 0 and target >= 0:
                old = had.get(source, set())
                assert target not in old or len(old - {-1}) == len(run.store.ids), (
                    "one it has not had, while there is one"
                )
            if source in before and ledger.piece[before[source]] < 0:
                assert not np.array_equal(ledger.parameter[row], ledger.parameter[before[source]])
                again += 1
            had.setdefault(source, set()).add(target)
            before[source] = row
            easy[source] = easy.get(source, 0) + 1 if ledger.piece[row] < 0 else 0
            assert easy[source] <= 4 and (int(ledger.piece[row]) in output) == (ledger.piece[row] >= 0)
        ended = [source for source, count in easy.items() if count == 4]
        assert again >= 5 and ended
        left = {source for source in easy if 0 < easy[source] < 4}
        last = int(ledger.step.max()) - 1
        assert all(ledger.step[before[source]] >= last for source in left), "easy ones are tried again"


def labels_are_those_of_the_source(runs: Runs) -> None:
    """The index image of the source, bit by bit where colours moved alone; where the frame moved, with the frame."""
    for run in experiments(runs):
        for piece in run.pieces:
            assert np.array_equal(run.regions(piece), run.source(piece)[1])
        assert len({piece["source"] for piece in run.pieces}) >= 4
    mirrored = runs.learn("data.flip=true", "trainer.max_steps=10")
    for piece in mirrored.pieces:
        image, regions = mirrored.source(piece)
        row = mirrored.ledger.row_of_piece[int(piece["piece"])]
        if not np.array_equal(mirrored.regions(piece), regions):
            image, regions = image[:, ::-1], regions[:, ::-1]
        assert np.array_equal(mirrored.regions(piece), regions)
        assert alike(mirrored.image(piece), made_again(mirrored, row, image, regions))
    moved = runs.search(*ALL, "stopping.max_pieces=40", "sources=false", experiment=None)  # the default's frames
    reframed = 0
    for piece in moved.pieces:
        regions, row = moved.regions(piece), moved.ledger.row_of_piece[int(piece["piece"])]
        if np.array_equal(regions, moved.source(piece)[1]):
            continue
        reframed += 1
        lightness = lab_of(moved.image(piece))[..., 0]
        for area in np.unique(regions[regions < WHOLE]).tolist():
            t_mean, t_std = moved.ledger.parameter[row, area, [0, 3]]
            inner = regions == area  # without pixels at the border, which are mixed
            inner &= (np.roll(regions, 1, 0) == area) & (np.roll(regions, -1, 0) == area)
            if inner.sum() >= 48:
                assert abs(np.median(lightness[inner]) - t_mean) < 6 + t_std, (piece, area)
    assert reframed >= 8


def the_output_is_a_data_set_for_any_program(runs: Runs) -> None:
    """Images, index images and tables that say where each piece comes from; a training elsewhere takes them."""
    run = frozen(runs, "sources=true", "stopping.max_pieces=16")
    rows = {row["id"]: row for row in rows_of(run.out / "metadata.csv")}
    assert [row["name"] for row in rows_of(run.out / "classes.csv")] == list(world.AREAS)
    cells = run.store.cells()
    for piece in run.pieces:
        about = rows[piece["id"]]
        assert about["split"] == "train" and (about["source.time"], about["source.weather"]) == ("day", "sunny")
        target = target_of(run, run.ledger.row_of_piece[int(piece["piece"])])
        if target >= 0:
            assert piece["targets"] == run.store.ids[target] and (about["time"], about["weather"]) == cells[target]
    splits = [row["split"] for row in rows.values()]
    assert splits.count("train") == len(run.pieces) + world.SOURCES and splits.count("target") == len(run.store.ids)
    summary = runs.train(f"data.root={run.out}", "neighbourhood=none", "trainer.max_steps=2").summary
    assert summary["steps"] == 2 and summary["candidates"] == 0
