"""What hardmine must do, one row for each requirement R1 to R47 and for each of the eight decisions.

Every row is shown on runs of the command line: the default, or one of the two experiments that have the text to the
letter, with at most the one choice that the row is about. What a run left is looked at by own arithmetic, see
`conformance`. A number without a check fails. The table of sabotages at the end makes one line of the code wrong at a
time, and the row must notice it.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
from conformance import conversion, decisions, neighbourhood, scoring, storage, update
from conformance.runs import Runs
from conformance.sabotage import sabotaged
from conformance.world import write_world

Check = Callable[[Runs], None]
REQUIREMENTS: dict[int, Check] = {
    1: storage.images_are_acquired,
    2: storage.index_images_are_acquired_or_done_without,
    3: storage.areas_are_a_matter_of_the_scene,
    4: storage.the_store_keeps_targets_with_their_distributions,
    5: storage.a_target_may_show_something_else_elsewhere,
    6: storage.luminance_alone_or_variances_do_too,
    7: storage.the_store_keeps_targets_with_their_distributions,
    8: storage.the_store_needs_no_pixels,
    9: storage.the_store_may_be_a_database,
    10: storage.a_person_sees_the_images,
    11: conversion.shades_become_those_of_the_target,
    12: conversion.the_first_parameter_is_of_the_wanted_environment,
    13: conversion.parameters_are_those_of_the_same_area_of_the_target,
    14: conversion.shades_become_those_of_the_target,  # Expr. 1
    15: conversion.shades_become_those_of_the_target,  # Expr. 2
    16: conversion.rgb_without_lab,
    17: conversion.which_areas_are_converted_is_a_choice,
    18: conversion.every_choice_of_areas_with_every_target,
    19: conversion.the_whole_image_alone_or_after_its_areas,
    20: conversion.other_conversions,
    21: conversion.parameters_are_determined_for_each_area,
    22: scoring.every_image_is_scored_with_the_stored_model,
    23: scoring.accuracy_is_of_what_is_recognised,
    24: scoring.output_iff_strictly_below_the_threshold,
    25: scoring.an_easy_image_is_converted_again_with_another_parameter,
    26: scoring.labels_are_those_of_the_source,
    27: scoring.the_output_is_a_data_set_for_any_program,
    28: neighbourhood.the_next_parameter_comes_from_the_one_that_was_hard,
    29: neighbourhood.the_environment_table_has_a_group_in_each_cell,  # FIG. 7
    30: neighbourhood.another_parameter_of_the_same_cell,
    31: neighbourhood.a_parameter_of_a_neighbouring_cell,
    32: neighbourhood.a_parameter_of_an_associated_cell,
    33: neighbourhood.the_graph_has_what_was_used,  # FIG. 8
    34: neighbourhood.the_graph_has_the_latest_accuracy,
    35: neighbourhood.unused_stored_parameters_are_selected,
    36: neighbourhood.only_what_is_hard_by_now_is_expanded,
    37: neighbourhood.the_second_threshold_is_expression_3,
    38: neighbourhood.the_second_threshold_may_be_expression_4,
    39: neighbourhood.parameters_are_generated_where_few_are_stored,  # FIG. 9
    40: neighbourhood.auto_selects_and_then_generates,
    41: update.the_next_scoring_uses_the_updated_model,
    42: update.an_update_for_every_piece_or_every_ten,
    43: update.batch_learning_joins_stored_data_and_new_output,
    44: update.the_model_stays_as_it_is,
    45: update.what_it_brings_is_measured,
    46: update.steps_may_be_reordered_or_left_out,
    47: update.it_is_a_library_a_command_line_and_a_config,
}
DECISIONS: dict[int, Check] = {
    1: decisions.flat_areas_are_floored_and_gains_capped,
    2: decisions.an_area_that_the_target_lacks,
    3: decisions.what_is_generated_can_be_a_photograph,
    4: neighbourhood.auto_selects_and_then_generates,
    5: decisions.what_is_hard_for_ever_leaves,
    6: decisions.luminance_and_coherent_light_by_default,
    7: decisions.when_to_stop,
    8: decisions.void_is_never_converted_and_an_absent_area_never_hard,
}
ENVIRONMENT, REACH = "hardmine.store.environment:", "hardmine.neighbourhood.reach:Reach."
GRAPH, SEARCH, STORED = "hardmine.memory.graph:Graph.", "hardmine.search:Search.", "hardmine.neighbourhood.stored:"
SABOTAGES = [  # row, function, a line of it, and what is made of that
    (12, f"{ENVIRONMENT}matching", "match &= torch", "match |= torch"),
    (14, "hardmine.kernels.transfer:affine", "offset = t_mean - gain * source.mean", "offset = t_mean - source.mean"),
    (24, "hardmine.memory.hardness:is_hard", "score < threshold", "score <= threshold"),
    (25, f"{GRAPH}update", "self.used.add(recipe.source[row], target, region)", "None"),
    (26, "hardmine.conversions.reframe:Reframe._convert", "(image, regions, {**scenes.labels, **moved})", "(image)"),
    (28, f"{SEARCH}step", "candidates.where(hard, before)", "before"),
    (31, f"{ENVIRONMENT}EnvironmentTable._adjacent", "(components == 1)", "(components >= 1)"),
    (31, f"{ENVIRONMENT}EnvironmentTable._adjacent", "steps <= 1", "steps <= 2"),
    (33, f"{GRAPH}update", "accumulate=True", "accumulate=False"),
    (34, f"{GRAPH}_mark", "~accuracy.isnan()", "~accuracy.isnan() & self.accuracy[target, region].isnan()"),
    (35, f"{STORED}taken", "graph.uses[target, region] > 0", "graph.uses[target, region] < 0"),
    (36, "hardmine.memory.hardness:Hardness.still", "(hard | ~known)", "(hard | True)"),
    (37, f"{REACH}holds", "squares.sum(-1) <", "squares.sum(-1) <="),
    (38, f"{REACH}holds", "(squares <", "(squares <="),
    (39, f"{REACH}draw", "** (1 / d) * self.radius", "** (1 / d)"),
    (41, "hardmine.mining:Mining.begin", "self.gates, self.decay", "self.gates, 1.0"),
    (42, "hardmine.update:Rounds.pieces", "every = self.update.every", "every = 1"),
]


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_world(tmp_path_factory.mktemp("world") / "photos")


@pytest.fixture(scope="session")
def kept(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Each run is made once for all rows."""
    return Runs(tmp_path_factory.mktemp("conformance") / "runs", photos)


@pytest.fixture
def runs(kept: Runs, capsys: pytest.CaptureFixture[str]) -> Runs:
    kept.capture = lambda: capsys.readouterr().out
    return kept


@pytest.mark.parametrize("number", range(1, 48), ids=lambda number: f"R{number}")
def test_requirement(number: int, runs: Runs) -> None:
    assert number in REQUIREMENTS, f"nothing shows R{number}"
    REQUIREMENTS[number](runs)


@pytest.mark.parametrize("number", range(1, 9))
def test_decision(number: int, runs: Runs) -> None:
    assert number in DECISIONS, f"nothing shows decision {number}"
    DECISIONS[number](runs)


@pytest.mark.parametrize(("number", "place", "right", "wrong"), SABOTAGES, ids=lambda value: str(value)[-20:])
def test_a_row_notices_sabotage(number: int, place: str, right: str, wrong: str, photos: Path, tmp_path: Path) -> None:
    with sabotaged(place, right, wrong), pytest.raises(AssertionError):
        REQUIREMENTS[number](Runs(tmp_path / "runs", photos))
