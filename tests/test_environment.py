"""The environment table (R29; D50-D53, FIG. 7), words for environments (R12), and the table that is shown."""

from io import StringIO
from itertools import product
from pathlib import Path

import pytest
import torch
from conftest import make_recipe, make_store
from omegaconf import OmegaConf
from rich.console import Console
from rich.table import Table

from hardmine.errors import InputError
from hardmine.memory.graph import Graph
from hardmine.neighbourhood.cells import environments
from hardmine.records import Verdict
from hardmine.report.environments import environment_cells, read_graph
from hardmine.store import ParameterStore
from hardmine.store.environment import EnvironmentTable, matching

TIMES, WEATHERS = ("morning", "day", "night"), ("sunny", "rainy", "cloudy")


def figure_7(areas: tuple[str, ...] = ("grass", "pole", "asphalt", "river"), each: int = 2) -> ParameterStore:
    """`each` targets for every time and weather; target 0 is of the first."""
    taken = [pair for pair in product(TIMES, WEATHERS) for _ in range(each)]
    columns = {"time": [time for time, _ in taken], "weather": [weather for _, weather in taken]}
    store = make_store(len(taken), len(areas), environment=columns)
    return store.with_(areas=areas)


def near(table: EnvironmentTable, links: torch.Tensor, cell: str) -> set[str]:
    return {table.cells[other] for other in links[table.cells.index(cell)].nonzero().flatten().tolist()}


def test_each_cell_holds_its_group_of_parameters() -> None:
    store = figure_7()
    count = store.count.clone()
    count[0, 3] = 0  # no river in the first sunny morning
    table = EnvironmentTable(store.with_(count=count), {"time": TIMES, "weather": WEATHERS})
    assert table.cells[:4] == ("morning sunny", "morning rainy", "morning cloudy", "day sunny")
    assert len(table.cells) == 9
    assert table.cell.tolist() == [cell for cell in range(9) for _ in range(2)]
    assert table.groups[0].tolist() == [2, 2, 2, 1, 2]
    assert (table.groups[1:] == 2).all()


def test_neighbours_differ_in_one_component_by_one_step_of_an_ordered_one() -> None:
    table = EnvironmentTable(figure_7(), order={"time": TIMES})
    assert near(table, table.adjacent, "night sunny") == {"day sunny", "night rainy", "night cloudy"}
    assert near(table, table.adjacent, "day rainy") == {"morning rainy", "night rainy", "day sunny", "day cloudy"}
    assert torch.equal(table.adjacent, table.adjacent.T)
    ordered = EnvironmentTable(figure_7(), order={"time": TIMES, "weather": WEATHERS})
    assert near(ordered, ordered.adjacent, "night sunny") == {"day sunny", "night rainy"}
    free = EnvironmentTable(figure_7())
    expected = {"day sunny", "morning sunny", "night rainy", "night cloudy"}
    assert near(free, free.adjacent, "night sunny") == expected


def test_a_value_that_no_target_has_is_an_empty_cell_and_still_a_step() -> None:
    store = make_store(3, environment={"time": ["morning", "night", "night"]})
    table = EnvironmentTable(store, order={"time": TIMES})
    assert table.cells == TIMES
    assert table.groups[1].tolist() == [0] * 4
    assert not near(table, table.adjacent, "morning") & {"night"}


def test_any_number_of_components_with_any_names() -> None:
    one = EnvironmentTable(make_store(3, environment={"stain": ["H&E", "PAS", "H&E"]}))
    assert one.cell.tolist() == [0, 1, 0]
    three = {"hour": ["6", "12", "6"], "camera": ["a", "a", "b"], "light rain?": ["no", "yes", "no"]}
    table = EnvironmentTable(make_store(3, environment=three), order={"hour": [6, 12]})  # type: ignore[list-item]
    assert len(table.cells) == 8
    assert near(table, table.adjacent, "6 a no") == {"12 a no", "6 b no", "6 a yes"}


def test_a_table_with_too_many_combinations_has_those_of_the_store() -> None:
    columns = {"place": [f"p{index}" for index in range(40)], "day": [f"d{index % 39}" for index in range(40)]}
    table = EnvironmentTable(make_store(40, environment=columns), associations={"p0": ["p39"]})
    assert len(table.cells) == 40
    assert near(table, table.adjacent, "p0 d0") == {"p39 d0"}
    assert near(table, table.associated[0], "p0 d0") == {"p39 d0"}


@pytest.mark.parametrize("words", ["sunny night", "night sunny", "weather=sunny time=night"])
def test_associations_hold_for_all_areas_or_for_one(words: str) -> None:
    table = EnvironmentTable(figure_7(), associations={words: ["cloudy night", "day"]})
    assert all(near(table, area, "night sunny") == {"night cloudy", "day sunny"} for area in table.associated)
    assert table.associated.sum() == 2 * 5  # from there alone, not back
    for names in (
        {f"river {words}": ["river cloudy night"]},
        {f"{words} river": ["cloudy"]},
        {words: ["cloudy river"]},
    ):
        table = EnvironmentTable(figure_7(), associations=names)
        assert near(table, table.associated[3], "night sunny") == {"night cloudy"}
        assert table.associated.sum() == 1


def test_what_an_association_leaves_out_stays_as_it_is() -> None:
    table = EnvironmentTable(figure_7(), associations={"night": ["day", "sunny night"]})
    assert near(table, table.associated[0], "night rainy") == {"day rainy", "night sunny"}
    assert near(table, table.associated[0], "night sunny") == {"day sunny"}  # no cell is associated with itself
    assert not near(table, table.associated[0], "day sunny")


def test_names_of_several_words() -> None:
    store = make_store(3, 2, environment={"weather": ["light rain", "rain", "light"]}).with_(
        areas=["traffic light", "car"]
    )
    table = EnvironmentTable(store, associations={"traffic light light rain": ["rain"]})
    assert near(table, table.associated[0], "light rain") == {"rain"}
    assert not table.associated[1:].any()


@pytest.mark.parametrize(
    ("order", "associations", "message"),
    [
        ({"time": ["morning", "night"]}, {}, r"order.time: 'day' of the store is missing: add it"),
        ({"weather": ["sunny"]}, {}, r"order.weather: 'cloudy', 'rainy' of the store is missing"),
        ({"tide": ["low"]}, {}, r"order: no component is called 'tide': take some of time, weather"),
        ({"time": [*TIMES, "day"]}, {}, r"order.time: .* each value once"),
        ({"time": "day"}, {}, r"order.time: 'day': write a list"),
        (
            {},
            {"snowy night": ["day"]},
            r"associations: nothing is called 'snowy' \(time: day, morning, night; weather: cloudy, rainy, "
            r"sunny; object type: grass, pole, asphalt, river, \(whole image\)\)",
        ),
        ({}, {"night": ["sea"]}, r"associations: nothing is called 'sea' .*: take some of these"),
        ({}, {"night": ["sunny rainy"]}, r"associations: 'sunny rainy' has two values of weather"),
        ({}, {"night": "day"}, r"associations: 'night' leads to 'day': write a list, \[day\]"),
        ({}, {"night": None}, r"associations: 'night' leads to None: write a list"),
        ({}, {"night": 3}, r"associations: 'night' leads to 3: write a list"),
        ({"time": None}, {}, r"order.time: None: write a list"),
        ({}, {"river night": ["pole day"]}, r"associations: 'river night' leads to 'pole day', another"),
    ],
)
def test_bad_words_name_the_argument(
    order: dict[str, list[str]], associations: dict[str, list[str]], message: str
) -> None:
    with pytest.raises(InputError, match=f"^{message}") as caught:
        EnvironmentTable(figure_7(), order, associations)
    assert "\n" not in str(caught.value)
    assert caught.value.keyed == f"environment.{caught.value}"  # as the command line has it


def test_a_store_without_environment_columns() -> None:
    with pytest.raises(InputError, match=r"has no environment columns.*metadata.csv, or take a neighbourhood"):
        EnvironmentTable(make_store())
    with pytest.raises(InputError, match=r"^environment: the store has no environment columns"):
        matching(make_store(), "night")
    assert matching(make_store(), None).all()


@pytest.mark.parametrize(
    "wanted", ["sunny night", "night sunny", "time=night sunny", {"time": "night", "weather": "sunny"}]
)
def test_matching_takes_the_targets_of_an_environment(wanted: str | dict[str, str]) -> None:
    assert matching(figure_7(), wanted).nonzero().flatten().tolist() == [12, 13]
    assert matching(figure_7(), "night").sum() == 6


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("foggy night", "nothing is called 'foggy' .*take some of these"),
        ("night day", "'night day' has two values of time"),
        ({"time": "noon"}, r"no target has time=noon \(time: day, morning, night; weather: cloudy"),
        ({"tide": "low"}, "no target has tide=low"),
    ],
)
def test_matching_names_what_there_is(wanted: str | dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=f"^environment: {message}"):
        matching(figure_7(), wanted)


def test_matching_where_words_are_ambiguous_or_nothing_is_left() -> None:
    store = make_store(2, environment={"rain": ["none", "some"], "fog": ["some", "none"]})
    with pytest.raises(InputError, match=r"more than one component has 'none' .*: write component=none"):
        matching(store, "none")
    assert matching(store, "rain=none").tolist() == [True, False]
    with pytest.raises(InputError, match="no target was taken in 'rain=none fog=none'"):
        matching(store, "rain=none fog=none")


def test_config_values_fit() -> None:
    """As Hydra hands them on, containers of its own."""
    config = OmegaConf.create({"order": {"time": list(TIMES)}, "associations": {"sunny night": ["cloudy night"]}})
    table = EnvironmentTable(figure_7(), config.order, config.associations)
    assert near(table, table.adjacent, "night sunny") == {"day sunny", "night rainy", "night cloudy"}
    assert near(table, table.associated[2], "night sunny") == {"night cloudy"}


# The table that is shown


def printed(table: Table, width: int = 100) -> list[str]:
    console = Console(width=width, file=StringIO())
    with console.capture() as captured:
        console.print(table)
    return [line.rstrip() for line in captured.get().splitlines()]


def cells(table: Table, row: str) -> list[str]:
    number = [str(cell) for cell in table.columns[0].cells].index(row)
    return [str(list(column.cells)[number]) for column in table.columns[1:]]


def test_the_environments_and_what_is_known_of_them(tmp_path: Path) -> None:
    store = figure_7()
    count = store.count.clone()
    count[12, 3], count[0:2] = 0, 0
    count[13, 4] = 0  # a table of statistics made elsewhere need not have the whole image
    store = store.with_(count=count)
    graph = Graph(store)
    recipe = make_recipe(2, store, target=13)
    score = torch.tensor([[0.2, 0.5, torch.nan, 0.3, 0.4], [0.6, 0.5, torch.nan, 0.1, 0.5]])
    present = ~score.isnan()
    verdict = Verdict(
        score[:, -1], score, score[:, -1] < 0.7, torch.tensor([-1, -1]), torch.tensor([3, 3]), -score[:, -1]
    )
    graph.update(recipe.replace(present=present), verdict)
    shown = environment_cells(store, graph, {"time": TIMES})
    assert cells(shown, "night sunny") == ["1/2\n60%", "1/2\n50%", "0/2\n", "1/1\n10%", "1/2\n50%"]
    assert cells(shown, "day sunny") == ["0/2\n"] * 5
    assert cells(shown, "morning sunny") == ["-"] * 5
    assert cells(shown, "all") == ["1/16\n60%", "1/16\n50%", "0/16\n", "1/15\n10%", "1/16\n50%"]
    graph.save(tmp_path / "graph.parquet", store)
    marks = read_graph(tmp_path / "graph.parquet")
    assert torch.equal(marks.uses, graph.uses)
    assert torch.equal(marks.accuracy.nan_to_num(-1), graph.accuracy.nan_to_num(-1))
    assert printed(environment_cells(store, marks, {"time": TIMES})) == printed(shown)
    assert cells(environment_cells(store), "night sunny") == ["2", "2", "2", "1", "2"]


def test_a_cell_shows_the_mean_over_its_used_points() -> None:
    store = figure_7(each=3)
    graph = Graph(store)
    graph.uses[:2, 0], graph.uses[3, 0] = 1, 1
    graph.accuracy[:4, 0] = torch.tensor([0.1, 0.4, 0.9, 1.0])  # the third is of another time: not used now
    shown = environment_cells(store, graph, {"time": TIMES, "weather": WEATHERS})
    assert cells(shown, "morning sunny")[0] == "2/3\n25%"
    assert cells(shown, "all")[0] == "3/27\n50%"


def test_twelve_areas_fit_into_a_hundred_columns() -> None:
    names = ("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist")
    store = figure_7((*names, "unlabelled"), each=5)
    graph = Graph(store)
    graph.uses += 1
    graph.accuracy[:] = 0.83
    lines = printed(environment_cells(store, graph))
    assert max(map(len, lines)) <= 100
    numbers = lines[2:]
    assert not any("…" in line for line in numbers)
    assert lines[1].split()[:5] == ["sky", "buil…", "pole", "road", "pave…"]
    assert any(line.split()[:3] == ["all", "45/45", "45/45"] for line in numbers)


def test_many_combinations_are_shown_where_there_are_targets() -> None:
    columns = {name: [f"{name}{index}" for index in range(7)] for name in ("place", "lens")}
    lines = printed(environment_cells(make_store(7, environment=columns)))
    assert len(lines) == 2 + 7 + 1 + 1
    assert lines[-1] == "42 more combinations have no target"


def test_without_environments_there_is_one_row() -> None:
    assert cells(environment_cells(make_store()), "all") == ["6"] * 4


def test_a_graph_of_another_store_is_an_error(tmp_path: Path) -> None:
    store = figure_7()
    with pytest.raises(InputError, match="graph is of another store"):
        environment_cells(store, Graph(make_store()))
    Graph(store).save(tmp_path / "graph.parquet", store)
    other = store.with_(ids=[f"other{index}" for index in range(len(store))])
    with pytest.raises(InputError, match="graph is of another store"):
        environment_cells(other, read_graph(tmp_path / "graph.parquet"))


def test_files_that_are_no_graph(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none.parquet: no such file"):
        read_graph(tmp_path / "none.parquet")
    make_store().save(tmp_path / "store.parquet")
    with pytest.raises(InputError, match=r"store.parquet: not the graph of a run"):
        read_graph(tmp_path / "store.parquet")


def test_a_row_is_converted_to_the_environment_of_its_target() -> None:
    store = figure_7()
    for target in (0, 5, 17):
        expected = {"time": store.environment["time"][target], "weather": store.environment["weather"][target]}
        assert environments(make_recipe(3, store, target), store) == [expected] * 3
    assert environments(make_recipe(2, make_store()), make_store()) == [{}, {}]


def test_a_generated_parameter_is_of_the_environment_nearest_in_the_graph() -> None:
    """Luminance alone is measured there, so that other channels may be as far off as they like."""
    store, axes = figure_7(), [0, 3]
    generator = torch.Generator().manual_seed(0)
    rows = make_recipe(40, store)
    drawn = store.parameters[torch.randint(18, (40,), generator=generator)] + 9 * torch.randn(40, 5, 6)
    rows = rows.replace(parameter=drawn * rows.chosen[..., None], target=torch.full((40, 5), -1, dtype=torch.int32))
    squares = (rows.parameter[:, None, :4, axes] - store.parameters[None, :, :4, axes]).square().sum(-1)
    expected = [store.environment["time"][target] for target in squares.mean(-1).argmin(1).tolist()]
    assert [found["time"] for found in environments(rows, store)] == expected
    assert len(set(expected)) > 1


def test_areas_with_targets_of_their_own_are_of_the_most_frequent_one() -> None:
    store = figure_7()
    rows = make_recipe(3, store)
    target = torch.tensor([[4, 16, 16, 0, -1], [4, 4, 16, 16, -1], [4, 4, 16, 16, -1]], dtype=torch.int32)
    chosen = rows.chosen.clone()
    chosen[2, 0] = False  # one vote less for 4, which else comes first of two as frequent
    found = environments(rows.replace(target=target, chosen=chosen), store)
    times = store.environment["time"]
    assert [each["time"] for each in found] == [times[16], times[4], times[16]]
