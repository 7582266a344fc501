"""R1 to R10: images, areas, and the parameter store."""

import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from conftest import is_in
from PIL import Image

from conformance import world
from conformance.conversion import alike, lab_of, transferred
from conformance.neighbourhood import FRESH, figure_8, frozen
from conformance.replay import target_of
from conformance.runs import WHOLE, Array, Run, Runs, pixels, rows_of
from hardmine.cli import main
from hardmine.report.prediction import paint

SHORT = "stopping.max_pieces=16"


def images_are_acquired(runs: Runs) -> None:
    """The sources, bit by bit: where a piece is not converted it is its source."""
    run = frozen(runs, "first.areas=[road]", "stopping.max_pieces=20")
    seen = set()
    for piece in run.pieces:
        image, regions = run.source(piece)
        assert np.array_equal(run.image(piece)[regions != 1], image[regions != 1])
        seen.add(piece["source"])
    assert len(seen) >= 4
    assert {row["source"] for row in run.trace if row["step"] == "S100"} >= {str(number) for number in range(8)}


def index_images_are_acquired_or_done_without(runs: Runs) -> None:
    """Each area of the index image is converted by itself; or superpixels are, or the whole image."""
    run = frozen(runs)
    present = [np.isin(np.arange(WHOLE), run.source(piece)[1]) for piece in run.pieces]
    rows = [run.ledger.row_of_piece[int(piece["piece"])] for piece in run.pieces]
    assert (run.ledger.present[rows, :WHOLE] == present).all()
    for mode, areas in (("superpixels", 8), ("whole", 1)):
        run = frozen(runs, f"data.regions={mode}", "data.superpixels=8", SHORT)
        assert run.ledger.chosen.shape[1] == areas + 1 and len(run.store.areas) == areas + 1
        assert len(run.ledger) > 0


def areas_are_a_matter_of_the_scene(runs: Runs) -> None:
    """The names are those of the data: here a street."""
    root = runs.folder / "street"
    shutil.copytree(runs.photos, root)
    names = ("vehicle", "roadway", "sidewalk")
    world.write_rows(root / "classes.csv", [{"index": str(index), "name": name} for index, name in enumerate(names)])
    run = frozen(runs, f"data.root={root}", "first.areas=[vehicle,sidewalk]", SHORT)
    assert run.store.areas[:WHOLE] == list(names)
    assert (run.ledger.chosen[:, :WHOLE] == [True, False, True]).all()
    points = [row["parameter"] for row in run.trace if row["step"] == "S110"]
    assert all(point.startswith("vehicle ") for point in points)


def measured(root: Path, name: str) -> Array:
    """(R, 6): mean and deviation in L*a*b* of the areas, and last of the whole image, by another library."""
    lab, regions = lab_of(pixels(root / f"images/{name}.png")), pixels(root / f"regions/{name}.png")
    parts = [lab[regions == area] for area in range(WHOLE)] + [lab.reshape(-1, 3)]
    return np.stack([np.concatenate([part.mean(0), part.std(0)]) for part in parts])


def the_store_keeps_targets_with_their_distributions(runs: Runs) -> None:
    """Of every target: references to its image and index image, and the colours of its areas and of the whole."""
    run = frozen(runs)
    table = pq.read_table(run.path / "store.parquet")
    assert run.store.ids == [f"t{number:02d}" for number in range(18)]
    for row in table.to_pylist():
        for column, folder in (("image", "images"), ("index_image", "regions")):
            path = run.path / row[column]  # relative or not
            assert path.resolve() == (runs.photos / folder / f"{row['target']}.png").resolve()
    for number, name in enumerate(run.store.ids):
        assert np.allclose(run.store.parameters[number], measured(runs.photos, name), atol=0.02)


def a_target_may_show_something_else_elsewhere(runs: Runs) -> None:
    """Only the labels mean the same: twice as large, the areas in another order, one area more."""
    root = runs.folder / "elsewhere"
    (root / "images").mkdir(parents=True)
    (root / "regions").mkdir()
    order = np.full(256, 255, np.uint8)
    order[:3] = (1, 3, 0)  # where sky, road and river stand there
    rows = [row for row in rows_of(runs.photos / "metadata.csv") if row["split"] == "target"]
    for row in rows:
        for folder in ("images", "regions"):
            array = pixels(runs.photos / folder / f"{row['id']}.png")
            array = (order[array] if folder == "regions" else array).repeat(2, 0).repeat(2, 1)
            Image.fromarray(array).save(root / folder / f"{row['id']}.png")
    world.write_rows(root / "metadata.csv", rows)
    names = ("river", "sky", "bridge", "road")
    world.write_rows(root / "classes.csv", [{"index": str(index), "name": name} for index, name in enumerate(names)])
    path = runs.folder / "elsewhere.parquet"
    main(["store", f"root={root}", f"out={path}"])
    run, here = frozen(runs, "store=file", f"store.path={path}"), frozen(runs)
    assert run.store.areas[:WHOLE] == list(world.AREAS)
    assert np.allclose(run.store.parameters[:, :WHOLE], here.store.parameters[:, :WHOLE], atol=1e-3)
    assert [row["target"] for row in run.trace] == [row["target"] for row in here.trace]


def luminance_alone_or_variances_do_too(runs: Runs) -> None:
    """A table with `mean_L` and `var_L`: L* moves, a* and b* stay as the source has them."""
    table = pq.read_table(frozen(runs).path / "store.parquet")
    light = table.select(["target", "area", "pixels", "mean_L"])
    light = light.append_column("var_L", pa.array(np.square(np.array(table["std_L"], float))))
    path = runs.folder / "luminance.parquet"
    pq.write_table(light, path)
    for run in (frozen(runs, "store=file", f"store.path={path}", SHORT), figure_8(runs)):
        assert run.store.axes == ["mean_L", "std_L"]
        for piece in run.pieces:
            image, regions = run.source(piece)
            row, lab = run.ledger.row_of_piece[int(piece["piece"])], lab_of(image)
            made = lab.copy()
            for area in np.flatnonzero(run.ledger.counted[row, :WHOLE]).tolist():
                t_mean, t_std = run.ledger.parameter[row, area]
                made = transferred(made, regions == area, np.array([t_mean, 0, 0, t_std, 0, 0]))
            made[..., 1:] = lab[..., 1:]
            assert alike(run.image(piece), np.where((regions < WHOLE)[..., None], world.rgb_of(made), image))
    assert np.allclose(
        frozen(runs, "store=file", f"store.path={path}", SHORT).store.parameters[..., 1],
        np.array(table["std_L"]).reshape(18, 4),
        rtol=1e-4,
    )


def same_search(one: Run, other: Run) -> bool:
    """Whether two runs took the same steps with the same parameters and scores."""
    return [{**row, "target": ""} for row in one.trace] == [{**row, "target": ""} for row in other.trace]


def the_store_needs_no_pixels(runs: Runs) -> None:
    """Measured beforehand by `hardmine store`; then the targets' images are deleted and the search is the same."""
    here, path = frozen(runs), runs.folder / "night.parquet"
    main(["store", f"root={runs.photos}", f"out={path}"])
    root = runs.folder / "without"
    shutil.copytree(runs.photos, root)
    for picture in [*root.glob("images/t0*.png"), *root.glob("images/t1*.png"), *root.glob("regions/t[01]*.png")]:
        picture.unlink()
    rows = [row for row in rows_of(root / "metadata.csv") if row["split"] != "target"]
    world.write_rows(root / "metadata.csv", rows)
    run = frozen(runs, "store=file", f"store.path={path}", f"data.root={root}")
    assert same_search(run, here) and np.array_equal(run.store.parameters, here.store.parameters)


def the_store_may_be_a_database(runs: Runs) -> None:
    """A table that any program can ask, and that a search takes by its URL."""
    here, file = frozen(runs), runs.folder / "night.db"
    file.unlink(missing_ok=True)
    url = f"sqlite:///{file}?table=colors"
    main(["store", f"root={runs.photos}", f"out={url}"])
    with sqlite3.connect(file) as connection:
        asked = "SELECT count(DISTINCT target) FROM colors WHERE \"environment.time\" = 'night' AND area = 'river'"
        assert connection.execute(asked).fetchall() == [(6,)]
    connection.close()
    run = frozen(runs, "store=file", f"store.path='{url}'")
    assert same_search(run, here) and np.allclose(run.store.parameters, here.store.parameters)


def a_person_sees_the_images(runs: Runs) -> None:
    """Source, index image, target and converted image, pixel by pixel on the sheet, of a search and of a training."""
    run = runs.search(*FRESH, SHORT, pictures=True)
    sheet = pixels(run.path / "pictures/hardest.png")[..., :3]
    score = {piece["id"]: run.ledger.score[run.ledger.row_of_piece[int(piece["piece"])]] for piece in run.pieces}
    hardest = sorted(run.pieces, key=lambda piece: float(score[piece["id"]]))
    piece = next(piece for piece in hardest if is_in(sheet, enlarged(run.image(piece))))
    assert score[piece["id"]] == run.ledger.score.min()
    image, regions = run.source(piece)
    assert is_in(sheet, enlarged(image)) and shows_labels(sheet, regions)
    target = target_of(run, run.ledger.row_of_piece[int(piece["piece"])])
    if target >= 0:
        photograph = Image.fromarray(pixels(runs.photos / f"images/{run.store.ids[target]}.png"))
        assert is_in(sheet, np.asarray(photograph.resize((168, 154), Image.Resampling.BILINEAR)))
    assert pixels(run.path / "graph.png").std() > 0
    trained = runs.train("trainer.max_steps=4", pictures=True)
    sheet = pixels(next(iter((trained.path / "pictures").glob("*.png"))))[..., :3]
    sources = [row["id"] for row in rows_of(runs.photos / "metadata.csv") if row["split"] == "train"]
    name = next(name for name in sources if is_in(sheet, enlarged(pixels(runs.photos / f"images/{name}.png"))))
    assert shows_labels(sheet, pixels(runs.photos / f"regions/{name}.png"))


def enlarged(picture: Array) -> Array:
    """Narrower than 160 pixels, by a whole number."""
    times = -(-160 // picture.shape[1])
    return np.kron(picture, np.ones((times, times, 1), np.uint8))


def shows_labels(sheet: Array, regions: Array) -> bool:
    """In the colours of the areas; void is black with white stripes."""
    labels = enlarged(regions[..., None])[..., 0]
    row, column = np.indices(labels.shape)
    picture = np.asarray(paint(torch.from_numpy(labels)))
    return any(
        is_in(sheet, np.where(((labels == 255) & ((row + column) % stripes < 2))[..., None], np.uint8(255), picture))
        for stripes in range(3, 12)
    )
