"""Signs that a search does not work: each line once, and only where it is due."""

import io
from copy import deepcopy
from typing import Any

import pytest
import torch
from hypothesis import given, settings, strategies as st

from hardmine.memory.signs import Signs
from hardmine.memory.tally import Tally

NAN = float("nan")


def seen(
    signs: Signs,
    score: list[float],
    threshold: float | None,
    candidates: int,
    pieces: int,
    neighbours: bool = False,
    refused: int = 0,
) -> str | None:
    """One search, and the line that it brings."""
    tally = Tally(candidates, pieces, refused=refused)
    lines = signs.look(torch.tensor(score), torch.full((len(score),), neighbours), threshold, tally)
    assert len(lines) < 2
    return lines[0] if lines else None


def ended(signs: Signs, threshold: float | None, candidates: int, pieces: int) -> str | None:
    lines = signs.end(threshold, Tally(candidates, pieces))
    assert len(lines) < 2
    return lines[0] if lines else None


def looked(
    signs: Signs,
    scores: list[list[float]],
    per_search: int = 4,
    pieces: int = 9,
    threshold: float | None = 0.7,
    **kind: Any,
) -> list[str | None]:
    """Searches one after the other, `per_search` candidates in each, as far as the counts go."""
    return [
        seen(signs, score, threshold, (place + 1) * per_search, pieces, **kind) for place, score in enumerate(scores)
    ]


# Nothing can be scored


def test_nothing_that_can_be_scored_in_five_searches() -> None:
    told = looked(Signs(), [[NAN] * 4] * 9)
    assert [line is not None for line in told] == [place == 4 for place in range(9)]
    assert told[4] == (
        "no candidate of the first 5 searches could be scored (nothing labelled in them; Th1 is 0.7): look at the "
        "labels and ignore_index"
    )


@pytest.mark.parametrize("search", range(5))
def test_a_single_score_is_enough(search: int) -> None:
    scores = [[NAN] * 4 for _ in range(9)]
    scores[search][2] = 0.5
    assert looked(Signs(), scores) == [None] * 9


# All alike


@pytest.mark.parametrize(("score", "shown"), [(0.0, "0"), (1.0, "1"), (0.123456, "0.123")])
def test_five_searches_whose_scores_are_all_the_same(score: float, shown: str) -> None:
    told = looked(Signs(), [[score, score], [score, NAN], [score], [score], [score]] + [[score]] * 9)
    assert [line is not None for line in told] == [place == 4 for place in range(14)]
    remedy = (
        "the model recognises everything, so take a store that is further from the images, or mine nothing"
        if score == 1
        else "look at predict and scoring, or set start higher"
    )
    assert told[4] == (
        f"all candidates of the first 5 searches have the same score, so the median is {shown} (Th1 is 0.7): {remedy}"
    )


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 4), st.integers(0, 3))
def test_one_that_differs_is_enough(search: int, row: int) -> None:
    scores = [[0.25] * 4 for _ in range(9)]
    scores[search][row] = 0.26
    assert looked(Signs(), scores) == [None] * 9


def test_a_model_that_gives_nan_from_some_search_on() -> None:
    told = looked(Signs(), [[0.1, 0.2]] * 6 + [[NAN, NAN]] * 40 + [[0.3]] + [[NAN]] * 40)
    assert [place for place, line in enumerate(told) if line is not None] == [25]
    assert told[25] is not None and told[25].startswith("no candidate of the latest 20 searches could be scored: look")
    apart = looked(Signs(), ([[0.1, 0.2]] + [[NAN]] * 19) * 5)
    assert apart == [None] * 100


@pytest.mark.parametrize(("score", "remedy"), [(1.0, "the model recognises everything"), (0.0, "look at predict")])
def test_the_end_says_why_no_share_of_what_is_alike_becomes_pieces(score: float, remedy: str) -> None:
    signs = Signs(0.1)
    for _ in range(12):
        signs.look(torch.full((4,), score), torch.zeros(4, dtype=torch.bool), None, Tally(48, 0))
    assert signs.end(None, Tally(48, 0)) == [
        f"48 candidates brought 0 pieces: the median score of the latest is {score:g}, as that of all others: {remedy}"
        + (
            ", so take a store that is further from the images, or mine nothing"
            if score
            else " and scoring, or set start higher"
        )
    ]


def test_later_searches_may_be_alike() -> None:
    assert looked(Signs(), [[0.1, 0.2]] + [[0.5, 0.5]] * 20) == [None] * 21


def test_a_single_candidate_says_nothing() -> None:
    assert looked(Signs(), [[0.5], [], [NAN], [NAN], [NAN], [NAN]]) == [None] * 6


def test_a_search_of_nothing_is_none() -> None:
    """Ranks settle in each step, whether or not something was offered."""
    told = looked(Signs(), [[], [0.5, 0.5], [], [0.5], [0.5], [], [0.5], [], [0.5]])
    assert [line is not None for line in told] == [place == 8 for place in range(9)]


# Few pieces

VARIED = [0.71, 0.8, 0.9, 0.95]


def test_few_pieces_of_many_candidates() -> None:
    told = looked(Signs(), [VARIED] * 200, pieces=4)
    assert [line is not None for line in told] == [place == 124 for place in range(200)]  # the 500th candidate
    assert told[124] == (
        "500 candidates brought 4 pieces: the median score of the latest is 0.8, and 0% lie below Th1, 0.7: "
        'set threshold above the median, or to "auto"'
    )


def test_enough_pieces_are_no_sign() -> None:
    assert looked(Signs(), [VARIED] * 200, pieces=5) == [None] * 200


def test_the_median_is_of_the_latest_scores() -> None:
    """500 of them, among which those that could not be scored do not count."""
    told = looked(Signs(), [[0.1, 0.2]] * 240 + [[0.9, NAN]] * 500, per_search=1, pieces=0)
    lines = [line for line in told if line is not None]
    assert len(lines) == 1 and told[499] == lines[0]
    assert "500 candidates brought 0 pieces: the median score of the latest is 0.9," in lines[0]


def test_nothing_that_could_be_scored_has_no_median() -> None:
    told = looked(Signs(), [[NAN] * 4] * 200, pieces=0)
    assert [place for place, line in enumerate(told) if line is not None] == [4]
    signs = Signs()
    looked(signs, [[NAN] * 4] * 200, pieces=0)
    line = seen(signs, [0.9], 0.7, 801, 0)
    assert line is not None and "the latest is 0.9" in line


def test_few_pieces_are_explained_at_the_end() -> None:
    signs = Signs()
    looked(unscored := Signs(), [[NAN] * 4], pieces=0)
    assert ended(unscored, 0.7, 4, 0) == "none of 4 candidates could be scored: look at the labels and ignore_index"
    looked(signs, [VARIED] * 10, pieces=0)
    high, low = (ended(deepcopy(signs), threshold, 40, 0) for threshold in (0.7, 0.9))
    assert high is not None and high.endswith('0% lie below Th1, 0.7: set threshold above the median, or to "auto"')
    assert low is not None and low.endswith('50% lie below Th1, 0.9: set threshold above the median, or to "auto"')
    assert ended(signs, 0.7, 40, 1) is None and ended(Signs(), 0.7, 0, 0) is None
    looked(signs, [VARIED] * 200, pieces=4)
    assert ended(signs, 0.7, 840, 4) is None  # it has been told


# No threshold


def test_the_first_searches_tell_what_is_hard_where_no_threshold_is_set() -> None:
    told = looked(Signs(0.1), [VARIED] * 30, threshold=None)
    assert [place for place, line in enumerate(told) if line is not None] == [4]
    assert told[4] == (
        "no threshold is set: the first 20 scores lie between 0.71 and 0.95 (median 0.8), so the 10% of candidates "
        "whose parameters lower the score most, on average over images, become pieces"
    )


def test_a_share_of_what_lies_below_a_threshold_is_told() -> None:
    assert looked(Signs(0.1), [VARIED] * 5)[4] == (
        "Th1 is 0.7 and hardest 0.1: of what is scored below Th1, the 10% of candidates whose parameters lower "
        "the score most, on average over images, become pieces"
    )


def test_the_choice_is_told_at_the_end_of_fewer_than_five_searches() -> None:
    looked(signs := Signs(0.1), [VARIED] * 2, threshold=None)
    line = ended(signs, None, 8, 1)
    assert line is not None and line.startswith("no threshold is set: the first 8 scores lie between 0.71 and 0.95")


@pytest.mark.parametrize(
    ("hardest", "end"), [(0.005, "so the 0.5% of candidates whose"), (1.0, "so all candidates become pieces")]
)
def test_the_share_is_told_as_it_is(hardest: float, end: str) -> None:
    line = looked(Signs(hardest), [VARIED] * 5, threshold=None)[4]
    assert line is not None and end in line


def test_few_pieces_without_a_threshold() -> None:
    told = looked(Signs(0.1), [VARIED] * 200, pieces=4, threshold=None)
    assert told[124] == (
        "500 candidates brought 4 pieces: the median score of the latest is 0.8: set hardest to a larger share"
    )


def test_few_pieces_below_the_threshold_of_which_a_share_is_taken() -> None:
    line = looked(Signs(0.001), [[0.1, 0.2, 0.3, 0.4]] * 125, pieces=4)[124]
    assert line is not None and line.endswith("100% lie below Th1, 0.7: set hardest to a larger share")


@pytest.mark.parametrize(("threshold", "hardest"), [(None, 0.1), (0.9, 1.0)])
def test_gates_are_named_where_they_refused_what_was_hard(threshold: float | None, hardest: float) -> None:
    told = looked(Signs(hardest), [VARIED] * 200, pieces=4, threshold=threshold, refused=60)
    assert told[124] == (
        "500 candidates brought 4 pieces: the median score of the latest is 0.8, and gates refused 60 hard ones: make "
        "the gates less strict"
    )


# What does not get easier


def test_scores_that_fall_are_told_once() -> None:
    told = looked(Signs(), [[0.6, 0.7]] * 5 + [[0.5, 0.6]] * 300, per_search=2, pieces=100)
    assert [place for place, line in enumerate(told) if line is not None] == [249]  # the 500th candidate
    assert told[249] == (
        "what is searched does not get easier: the first scores were 0.65 on average, the latest ones of first "
        "parameters are 0.55: set a lower learning rate or train longer, keep out what nobody recognises (gates), or "
        "take a store nearer to the images"
    )


def test_scores_that_fall_are_told_at_the_end_of_a_short_run() -> None:
    signs = Signs()
    assert looked(signs, [[0.6, 0.7]] * 5 + [[0.5, 0.6]] * 120, per_search=2, pieces=100) == [None] * 125
    line = ended(signs, 0.7, 250, 100)
    assert line is not None and line.startswith("what is searched does not get easier")
    assert ended(signs, 0.7, 250, 100) is None


@pytest.mark.parametrize("case", ["rising", "frozen", "neighbours", "short"])
def test_what_is_no_sign_of_it(case: str) -> None:
    """Neighbours are harder than first parameters, and there are more and more of them."""
    signs = Signs(learns=case != "frozen")
    later = [0.7, 0.8] if case == "rising" else [0.5, 0.6]
    scores = [[0.6, 0.7]] * 5 + [later] * (40 if case == "short" else 300)
    told = looked(signs, scores, per_search=2, pieces=100, neighbours=case == "neighbours")
    assert told == [None] * len(scores) and ended(signs, 0.7, 2 * len(scores), 100) is None


def test_both_may_be_due() -> None:
    """Scores all alike, and later on no pieces."""
    told = looked(Signs(), [[1.0] * 4] * 200, pieces=0)
    assert [place for place, line in enumerate(told) if line is not None] == [4, 124]
    many = looked(Signs(), [[1.0] * 200] * 9, per_search=200, pieces=0)
    assert [place for place, line in enumerate(many) if line is not None] == [2, 4]


@pytest.mark.parametrize("stop", [1, 4, 5, 100, 125, 130])
def test_a_resumed_run_tells_what_it_would_have_told(stop: int) -> None:
    scores = [[1.0] * 4] * 200
    whole = looked(Signs(), scores, pieces=0)
    begun, again, file = Signs(), Signs(), io.BytesIO()
    first = looked(begun, scores[:stop], pieces=0)
    torch.save(begun.state_dict(), file)
    file.seek(0)
    again.load_state_dict(torch.load(file, weights_only=True))
    for place in range(stop, 200):
        first.append(seen(again, scores[place], 0.7, (place + 1) * 4, 0))
    assert first == whole
