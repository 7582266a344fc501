"""R11 to R21: what is made of an image, by own arithmetic on the pictures that a run wrote."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import scipy.ndimage
import skimage.color

from conformance.neighbourhood import expanded, experiments, frozen
from conformance.replay import expression_3, shifts, target_of
from conformance.runs import WHOLE, Array, Run, Runs, pixels
from conformance.world import AREAS, rgb_of

MIN_STD, MAX_GAIN = 1.0, 4.0  # of the default (decision 1), Lab units and times
ALL = ("mining.threshold=auto", "mining.hardest=1")  # every candidate is output


def lab_of(image: Array) -> Array:
    """(H, W, 3) uint8 as CIE L*a*b*, by another library."""
    lab: Array = skimage.color.rgb2lab(image)
    return lab


def transferred(values: Array, inside: Array, parameter: Array, unit: float = 1.0) -> Array:
    """Expr. 1 and 2 for the pixels of one region, (H, W, 3), all others as they are.

    The source's deviation is at least, and the gain at most, what decision 1 says.
    """
    t_mean, t_std = parameter[:3].astype(float), parameter[3:].astype(float)
    made, source = values.copy(), values[inside]
    s_mean, s_std = source.mean(0), np.maximum(source.std(0), MIN_STD * unit)
    s_normed = (source - s_mean) / s_std  # Expr. 1
    made[inside] = s_normed * np.minimum(t_std, MAX_GAIN * s_std) + t_mean  # Expr. 2
    return made


def made_again(run: Run, row: int, image: Array, regions: Array) -> Array:
    """The image of a row of the ledger, made of its source by Expr. 1 and 2, area by area."""
    lab = lab_of(image)
    for area in np.flatnonzero(run.ledger.counted[row, :WHOLE]).tolist():
        lab = transferred(lab, regions == area, run.ledger.parameter[row, area])
    return np.where((regions < WHOLE)[..., None], rgb_of(lab), image)


def alike(made: Array, expected: Array) -> bool:
    """Whether two images differ by rounding alone."""
    apart = np.abs(made.astype(float) - expected)
    return bool((apart <= 1).mean() > 0.995 and apart.max() <= 3)


def shades_become_those_of_the_target(runs: Runs) -> None:
    """Every piece of both experiments is its source by Expr. 1 and 2, pixel by pixel; the limits are the default."""
    for run in experiments(runs):
        place, sources = run.ledger.row_of_piece, set()
        for piece in run.pieces:
            image, regions = run.source(piece)
            assert alike(run.image(piece), made_again(run, place[int(piece["piece"])], image, regions)), piece
            sources.add(piece["source"])
        assert len(sources) >= 4


def parameters_are_those_of_the_same_area_of_the_target(runs: Runs) -> None:
    """Mean and deviation of the pixels that have the area's label in the target, measured here by another library."""
    run = frozen(runs)
    measured = {}
    for name in run.store.ids:
        lab, regions = (lab_of(pixels(runs.photos / f"images/{name}.png")), pixels(runs.photos / f"regions/{name}.png"))
        for area in range(WHOLE):
            inside = lab[regions == area]
            measured[name, area] = np.concatenate([inside.mean(0), inside.std(0)])
    stored = [row for row in range(len(run.ledger)) if target_of(run, row) >= 0]
    assert len(stored) > 20
    for row in stored:
        name = run.store.ids[target_of(run, row)]
        for area in np.flatnonzero(run.ledger.counted[row, :WHOLE]).tolist():
            assert np.allclose(run.ledger.parameter[row, area], measured[name, area], atol=0.02)


def the_first_parameter_is_of_the_wanted_environment(runs: Runs) -> None:
    """One of those taken on a sunny night, at random; or on any night."""
    for wanted, values in (('"sunny night"', {"night", "sunny"}), ("{time: night}", {"night"})):
        run = frozen(runs, f"store.environment={wanted}", "stopping.max_pieces=30")
        fits = {target for target, cell in enumerate(run.store.cells()) if values <= set(cell)}
        first = [target_of(run, row) for row in np.flatnonzero(run.ledger.parent < 0).tolist()]
        stored = [target for target in first if target >= 0]
        assert set(stored) <= fits and len(set(stored)) >= min(len(fits), 4), (stored, fits)
        begun = [target_of(run, row) for row in np.flatnonzero(run.ledger.step == 0).tolist()]
        assert len(set(begun)) > 1, "at random"


def rgb_without_lab(runs: Runs) -> None:
    """Expr. 1 and 2 in red, green and blue; a hundredth of their range is what one unit is in Lab."""
    run = frozen(runs, "conversion.colors=rgb", "stopping.max_pieces=20")
    assert run.store.axes == ["mean_R", "mean_G", "mean_B", "std_R", "std_G", "std_B"]
    for piece in run.pieces:
        image, regions = run.source(piece)
        row, made = run.ledger.row_of_piece[int(piece["piece"])], image.astype(float)
        for area in np.flatnonzero(run.ledger.counted[row, :WHOLE]).tolist():
            made = transferred(made, regions == area, run.ledger.parameter[row, area], unit=2.55)
        assert alike(run.image(piece), made.clip(0, 255).round())


def which_areas_are_converted_is_a_choice(runs: Runs) -> None:
    """One, several or all: what is not chosen keeps every bit."""
    seen = set()
    for areas in ("[road]", "random", "all"):
        run = frozen(runs, f"first.areas={areas}", "stopping.max_pieces=20") if areas != "all" else frozen(runs)
        for piece in run.pieces:
            image, regions = run.source(piece)
            row = run.ledger.row_of_piece[int(piece["piece"])]
            chosen = frozenset(np.flatnonzero(run.ledger.counted[row]).tolist())
            if areas.startswith("["):
                assert {AREAS[area] for area in chosen} <= set(areas.strip("[]").split(", "))
            changed = (run.image(piece) != image).any(-1)
            assert not changed[~np.isin(regions, list(chosen))].any()
            assert all(changed[regions == area].mean() > 0.5 for area in chosen)
            seen.add(chosen)
    assert {len(chosen) for chosen in seen} == {1, 2, 3}


def some_targets(runs: Runs, *names: str) -> str:
    """A store of some of the targets, as a file."""
    table = pq.read_table(frozen(runs).path / "store.parquet")
    path = runs.folder / f"{'_'.join(names)}.parquet"
    pq.write_table(table.filter(pc.is_in(table["target"], pa.array(names))), path)
    return str(path)


def every_choice_of_areas_with_every_target(runs: Runs) -> None:
    """(2^N - 1) * M images of one input, no two alike: 14 of three areas and two targets, 6 without one area."""
    store = ("store=file", f"store.path={some_targets(runs, 't00', 't14')}")
    once = ("search.searches=14", "search.depth=0", "search.retries=0", "search.rows=3", "neighbourhood=random")
    run = runs.search("first=exhaustive", *store, *once, *ALL, runs.few("s00", "s01", "s02"))
    images: dict[str, list[bytes]] = {}
    for piece in run.pieces:
        images.setdefault(piece["source"], []).append(run.image(piece).tobytes())
    for name, members in (("s00", 14), ("s01", 14), ("s02", 6)):  # the third has no river
        assert len(set(images[name])) == members
    assert len(images["s00"]) == 14
    row_of_piece, ledger = run.ledger.row_of_piece, run.ledger
    pairs = {
        (tuple(ledger.counted[row_of_piece[int(piece["piece"])]]), target_of(run, row_of_piece[int(piece["piece"])]))
        for piece in run.pieces
        if piece["source"] == "s00"
    }
    assert len(pairs) == 14 and {target for _, target in pairs} == {0, 1}


def the_whole_image_alone_or_after_its_areas(runs: Runs) -> None:
    """Expr. 1 and 2 for all labelled pixels alike, measured after the areas have been converted."""
    for first, areas in (("whole_image", False), ("areas_then_whole", True)):
        run = frozen(runs, f"first={first}", "stopping.max_pieces=16")
        assert run.ledger.chosen[:, WHOLE].all() and (run.ledger.chosen[:, :WHOLE].all() == areas)
        for piece in run.pieces:
            image, regions = run.source(piece)
            row = run.ledger.row_of_piece[int(piece["piece"])]
            after = made_again(run, row, image, regions).round()
            whole = transferred(
                lab_of(after.astype(np.uint8)), np.ones_like(regions, bool), run.ledger.parameter[row, 3]
            )
            expected = np.where((regions < WHOLE)[..., None], rgb_of(whole), image)
            assert alike(run.image(piece), expected)


def filters(runs: Runs) -> None:
    """Smoothing is a Gaussian, sharpening adds what it takes away, and outlines stand where the areas meet."""
    for name in ("smooth", "sharpen", "outline"):
        run = runs.search(f"conversion={name}", *ALL, runs.few("s00", "s01", "s02"), experiment=None)
        assert len(run.pieces) >= 3
        for piece in run.pieces:
            image, regions = run.source(piece)
            made, source = run.image(piece).astype(float), image.astype(float)
            strength = float(run.ledger.parameter[run.ledger.row_of_piece[int(piece["piece"])], 0, 0])
            if name == "outline":
                edge = (regions != np.roll(regions, 1, 0))[5:] & (regions[5:] < 3)
                lines = (made - (1 - strength) * source)[5:]
                assert lines[edge].mean() > 1.5 * lines[~edge].mean()
                continue
            sigma = strength if name == "smooth" else 1.0
            blurred = scipy.ndimage.gaussian_filter(source, (sigma, sigma, 0), mode="nearest", truncate=6)
            expected = blurred if name == "smooth" else (source + strength * (source - blurred)).clip(0, 255)
            inside = regions < 3
            assert np.abs(made - expected)[inside].mean() < 1.5, (name, strength)


def moved(regions: Array, area: int, scale: float, angle: float) -> Array:
    """(H, W) bool: where the object of an area comes to lie, larger and turned about its centre."""
    rows, columns = np.nonzero(regions == area)
    center = np.array([(rows.min() + rows.max()) / 2, (columns.min() + columns.max()) / 2])
    turn = np.deg2rad(angle)
    down, right = (np.indices(regions.shape) - center[:, None, None]) / scale
    back = np.stack([np.cos(turn) * down + np.sin(turn) * right, np.cos(turn) * right - np.sin(turn) * down])
    place = np.round(back + center[:, None, None]).astype(int)
    there = ((place >= 0) & (place < np.array(regions.shape)[:, None, None])).all(0)
    found = np.zeros(regions.shape, bool)
    found[there] = regions[place[0][there], place[1][there]] == area
    return np.asarray(found & (regions != 255))


def an_object_is_transformed_with_its_label(runs: Runs) -> None:
    """Size and inclination of the road: the label lies where own geometry says, and so do the road's colours."""
    run = runs.search(
        "conversion=affine_object", "first.areas=[road]", *ALL, runs.few("s00", "s01", "s03"), experiment=None
    )
    turned = 0
    for piece in run.pieces:
        _, regions = run.source(piece)
        row = run.ledger.row_of_piece[int(piece["piece"])]
        scale, angle = run.ledger.parameter[row, 1]
        expected, labelled = moved(regions, 1, float(scale), float(angle)), run.regions(piece) == 1
        assert (expected & labelled).sum() > 0.85 * (expected | labelled).sum(), (scale, angle)
        turned += bool((labelled != (regions == 1)).mean() > 0.03)
    assert turned >= 3


def parameters_are_determined_for_each_area(runs: Runs) -> None:
    """Targets of their own for every area, and neighbours within the second threshold of its own parameter."""
    run = frozen(runs, "first.independent=true", "neighbourhood.independent=true", "stopping.max_pieces=40")
    ledger = run.ledger
    first = ledger.target[ledger.parent < 0][:, :WHOLE]
    assert (first[:, 0] != first[:, 1]).mean() > 0.5
    found = expanded(run)
    assert len(found) >= 10
    for step, row in found:
        counted = ledger.counted[row]
        assert expression_3(shifts(run, step.piece, ledger.parameter[row]))[counted].all()
    areas = [ledger.target[row][ledger.counted[row]] for _, row in found]
    assert any(len(set(each.tolist())) > 1 for each in areas)
    assert any((each < 0).any() and (each >= 0).any() for each in areas), "one area selects while another generates"


def other_conversions(runs: Runs) -> None:
    filters(runs)
    an_object_is_transformed_with_its_label(runs)
