"""The search of a run without Lightning: what is learnt, planned, offered, judged and kept."""

import inspect
import io
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import make_images, make_recipe, make_store
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import Tensor, nn
from torch.utils.data import Dataset, default_collate

import hardmine
from hardmine.cli import config_folder
from hardmine.conversions import Chain, ColorTransfer, Reframe
from hardmine.errors import InputError
from hardmine.judge.gates import Teacher
from hardmine.judge.scoring import Confidence, PixelRate, Reliability
from hardmine.memory.buffer import RecipeBuffer
from hardmine.memory.ledger import Ledger
from hardmine.memory.stopping import Stopping
from hardmine.mining import Mining
from hardmine.neighbourhood import Generate, Random, Select
from hardmine.numbered import Numbered
from hardmine.plan import Mix, Plan
from hardmine.ranks import pooled
from hardmine.records import Distribution, Recipe
from hardmine.scenes import Scenes
from hardmine.space import Space
from hardmine.update import Update

AREAS = ("area0", "area1", "area2")
Batch = dict[str, Tensor]


class Images(Dataset[Batch]):
    """Shifted by chance."""

    def __init__(self, count: int = 16) -> None:
        self.image, self.regions = make_images(count)

    def __len__(self) -> int:
        return len(self.image)

    def __getitem__(self, index: int) -> Batch:
        shift = int(torch.randint(0, 8, ()))
        image, regions = self.image[index].roll(shift, -1), self.regions[index].roll(shift, -1)
        return {"image": image, "regions": regions, "target": regions.long()}


NUMBERED = Numbered(Images())


def batch_of(number: int, rows: int = 4) -> Batch:
    """Batches of one row after the other, each sample with another draw each time."""
    places = [(place % len(NUMBERED), 100 + place) for place in range(number * rows, (number + 1) * rows)]
    made: Batch = default_collate([NUMBERED[place] for place in places])
    return made


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.Dropout(0.5))

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.layers(image / 255)
        return logits


class Run:
    """A loop written by hand."""

    def __init__(self, mining: Mining) -> None:
        torch.manual_seed(0)
        self.mining, self.net = mining, Net()
        self.optimizer = torch.optim.SGD(self.net.parameters(), 0.1, momentum=0.9)
        self.plans: list[Recipe] = []
        self.offered: list[Recipe] = []

    def step(self, number: int) -> Batch:
        """What was trained on."""
        mining, batch = self.mining, batch_of(number)
        scenes = mining.read(batch)
        plan = mining.plan(scenes)
        made = mining.make(scenes, plan)
        tries = mining.propose(plan)
        mining.offer(scenes, tries)
        trained: Batch = mining.view.write(batch, scenes, made)
        mining.judge(self.net)
        loss = nn.functional.cross_entropy(self.net(trained["image"]), trained["target"], ignore_index=255)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        mining.settle()
        self.plans.append(plan.rows)
        self.offered.append(tries)
        return trained

    def steps(self, numbers: range) -> "Run":
        for number in numbers:
            self.step(number)
        return self


def search(**settings: Any) -> Mining:
    """All is hard, from the first step on, and nothing has to be learnt."""
    told = {"conversion": ColorTransfer(), "threshold": 1.1, "hardest": 1.0, "start": 0, "areas": AREAS}
    mix = Mix(settings.pop("mined", 0.5), settings.pop("candidates", 1))
    return Mining(make_store(), **{"neighbourhood": Select(radius=10), "mix": mix, **told, **settings})


def flat(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for key in sorted(value) for leaf in (key, *flat(value[key]))]
    if isinstance(value, list | tuple):
        return [leaf for each in value for leaf in flat(each)]
    if isinstance(value, Recipe | Distribution):
        return flat(value.tensors())
    return [value.nan_to_num(-1).tolist() if isinstance(value, Tensor) else value]


def saved(value: Any) -> Any:
    """Through a file that holds plain values alone."""
    file = io.BytesIO()
    torch.save(value, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


# What is usual of an area


def individual(**settings: Any) -> Mining:
    return search(conversion=Chain([ColorTransfer(individual=True), Reframe(0.7)]), **settings)


def usual_of(mining: Mining) -> Distribution | None:
    assert isinstance(mining.conversion, Chain)
    (color, _) = mining.conversion.parts
    assert isinstance(color, ColorTransfer)
    return color.usual


def measured(numbers: range) -> Distribution:
    """Of all pixels of these batches."""
    batches = [batch_of(number) for number in numbers]
    return pooled([Scenes(batch["image"], batch["regions"], 3).measured("lab") for batch in batches])


@pytest.mark.parametrize("start", [0, 1, 3])
def test_what_is_usual_is_that_of_the_first_batches_and_then_stands(start: int) -> None:
    """The batch that meets `start` is the last one that counts, and the first one that is searched."""
    run = Run(individual(start=start))
    for number in range(start + 3):
        assert (usual_of(run.mining) is None) == (number <= start)
        assert run.mining.searching == (number > start)
        run.step(number)
    found, expected = usual_of(run.mining), measured(range(start + 1))
    assert found is not None and torch.equal(found.count, expected.count)
    torch.testing.assert_close(found.mean, expected.mean)
    torch.testing.assert_close(found.std, expected.std)
    assert [len(tries) for tries in run.offered] == [0] * start + [4] * 3


def test_the_same_recipe_gives_the_same_bits_throughout_a_run() -> None:
    run = Run(individual(start=2)).steps(range(3))
    source = run.mining.read(batch_of(0))
    recipe = run.offered[2]
    before, _ = run.mining.conversion(source, recipe)
    run.steps(range(3, 12))
    after, _ = run.mining.conversion(run.mining.read(batch_of(0)), recipe)
    assert torch.equal(before.image, after.image)
    assert torch.equal(before.regions, after.regions)


def test_no_more_is_looked_at_than_64_batches() -> None:
    mining = individual(start=10**6)
    for number in range(70):
        mining.plan(mining.read(batch_of(number, rows=1)))
    kept = mining.state_dict()["usual"]["seen"]
    assert len(kept) == 64
    assert sum(int(part["count"][0, -1]) for part in kept) == 64 * 24 * 32


@pytest.mark.parametrize("stop", [1, 2, 3, 4])
def test_what_is_usual_is_kept_in_checkpoints(stop: int) -> None:
    """In the middle of the learning, and after it."""
    whole = Run(individual(start=2)).steps(range(6))
    begun = Run(individual(start=2)).steps(range(stop))
    state = saved(begun.mining.state_dict())
    assert bool(state["usual"]["found"]) == (stop > 2) and len(state["usual"]["seen"]) == (stop if stop <= 2 else 0)
    again = individual(start=2)
    again.load_state_dict(state)
    begun.mining = again
    begun.steps(range(stop, 6))
    assert flat(usual_of(again)) == flat(usual_of(whole.mining)) and usual_of(again) is not None
    assert flat(begun.offered) == flat(whole.offered)


def test_what_is_usual_belongs_to_the_run() -> None:
    run = Run(individual()).steps(range(2))
    run.mining.begin()
    assert usual_of(run.mining) is None
    run.steps(range(5, 7))
    assert flat(usual_of(run.mining)) == flat(measured(range(5, 6)))


def test_what_was_told_beforehand_stays() -> None:
    color = ColorTransfer(individual=True)
    color.learn(measured(range(1)))
    told = color.usual
    run = Run(search(conversion=Chain([color, Reframe(0.7)]), start=3)).steps(range(5))
    assert color.usual is told
    assert run.mining.state_dict()["usual"] == {"found": {}, "seen": []}
    run.mining.begin()
    assert color.usual is told


def test_the_ledger_knows_what_is_usual(tmp_path: Any) -> None:
    ledger = Ledger(tmp_path)
    run = Run(individual(start=2, ledger=ledger))
    run.steps(range(4))
    ledger.flush()
    assert flat(Ledger(tmp_path).learnt()) == flat(usual_of(run.mining))
    again, resumed = individual(start=2, ledger=Ledger(tmp_path)), run.mining.state_dict()
    again.load_state_dict(resumed)
    Run(again).steps(range(4, 6))
    assert again.ledger is not None and flat(again.ledger.usual) == flat(usual_of(run.mining))


# Which rows are pieces, and what becomes of them


def test_nothing_happens_before_start() -> None:
    run = Run(search(start=3))
    for number in range(3):
        assert not run.mining.searching
        batch = run.step(number)
        assert all(torch.equal(value, batch[name]) for name, value in batch_of(number).items())
        assert run.mining.offered is None
    run.steps(range(3, 6))
    assert [len(tries) for tries in run.offered] == [0] * 3 + [4] * 3
    assert run.mining.tally.candidates == 12


def test_pieces_are_converted_where_they_stand_and_other_rows_stay() -> None:
    run = Run(search()).steps(range(2))
    for number in range(2, 8):
        plain, batch = batch_of(number), run.step(number)
        rows = run.plans[-1]
        assert torch.equal(rows.source, plain["index"]) and torch.equal(rows.draw, plain["draw"])
        pieces = rows.chosen.any(1)
        assert pieces.sum() == 2
        made, _ = run.mining.conversion(Scenes(plain["image"], plain["regions"], 3), rows)
        assert torch.equal(batch["image"], made.image)
        assert torch.equal(batch["image"][~pieces], plain["image"][~pieces])
        assert all(not torch.equal(batch["image"][row], plain["image"][row]) for row in pieces.nonzero().flatten())
        for name in ("regions", "target", "index", "draw"):
            assert torch.equal(batch[name], plain[name])


def test_labels_move_with_their_image() -> None:
    run = Run(search(conversion=Chain([ColorTransfer(), Reframe(0.5)]))).steps(range(2))
    plain, batch = batch_of(2), run.step(2)
    pieces = run.plans[-1].chosen.any(1)
    changed = (batch["target"] != plain["target"]).flatten(1).any(1)
    assert torch.equal(changed, pieces)
    assert torch.equal(batch["target"], batch["regions"].long())


def test_scenes_without_pieces_are_the_scenes() -> None:
    mining = search()
    batch = batch_of(0)
    scenes = mining.read(batch)
    made = mining.make(scenes, mining.plan(scenes))
    assert made is scenes and mining.view.write(batch, scenes, made) is batch


def test_rows_that_are_planned_already() -> None:
    run = Run(search()).steps(range(2))
    rows = make_recipe(4, make_store())
    plan = run.mining.plan(run.mining.read(batch_of(2)), rows)
    assert plan.rows is rows and plan.pieces.tolist() == [0, 1, 2, 3]


def test_pieces_go_on_when_the_search_is_over() -> None:
    run = Run(search(stopping=Stopping(max_pieces=6))).steps(range(2))
    assert run.mining.tally.pieces == 8 and not run.mining.searching
    run.steps(range(2, 5))
    assert [len(tries) for tries in run.offered] == [4, 4, 0, 0, 0]
    assert all(plan.chosen.any(1).sum() == 2 for plan in run.plans[2:])


def test_a_plan_looks_at_no_global_chance() -> None:
    plans = []
    for seed in range(2):
        run = Run(search()).steps(range(3))
        torch.manual_seed(seed)
        chance = torch.get_rng_state()
        plans.append(run.mining.plan(run.mining.read(batch_of(3))).rows)
        assert torch.equal(chance, torch.get_rng_state())
    assert plans[0].chosen.any() and flat(plans[0]) == flat(plans[1])


@pytest.mark.parametrize(("rows", "mined"), [(4, 0.05), (1, 0.24), (8, 0.01)])
def test_a_share_that_is_no_row_is_refused_at_once(rows: int, mined: float) -> None:
    """With the first batch, however long training is plain."""
    mining = search(mined=mined, start=1000)
    scenes = mining.read(batch_of(0, rows))
    with pytest.raises(InputError, match=f"mined={mined} of a batch of {rows} is no row: raise it, or set 0"):
        mining.plan(scenes)


def test_a_smaller_last_batch_may_have_no_piece() -> None:
    run = Run(search(mined=0.25)).steps(range(2))
    found = [int(run.mining.plan(run.mining.read(batch_of(8, rows=1))).rows.chosen.any()) for _ in range(100)]
    assert 10 <= sum(found) <= 42  # 25 on average, 4 deviations


# Candidates


def test_pieces_get_neighbours_and_other_rows_first_parameters() -> None:
    run = Run(search(neighbourhood=Generate(radius=2.0))).steps(range(6))
    for rows, tries in zip(run.plans, run.offered, strict=True):
        assert torch.equal(tries.parent, rows.piece)
        assert torch.equal(tries.source, rows.source) and torch.equal(tries.draw, rows.draw)
        near = rows.piece >= 0
        moved = (tries.parameter - rows.parameter)[near][:, :3][..., [0, 3]].norm(dim=-1)
        assert (moved < 2.0).all()


@pytest.mark.parametrize("candidates", [1, 3])
def test_what_was_offered(candidates: int) -> None:
    run = Run(search(candidates=candidates)).steps(range(4))
    offered, plain = run.mining.offered, batch_of(3)
    assert offered is not None and offered.score is not None
    assert offered.of.tolist() == [row for row in range(4) for _ in range(candidates)]
    assert torch.equal(offered.source.image, plain["image"])
    made, capped = run.mining.conversion(
        Scenes(plain["image"], plain["regions"], 3), run.offered[3], None if candidates == 1 else offered.of
    )
    assert torch.equal(offered.converted.image, made.image)
    torch.testing.assert_close(offered.capped, capped, equal_nan=True)
    assert torch.equal(offered.batch["image"], made.image)
    assert torch.equal(offered.batch["target"], plain["target"][offered.of])
    assert torch.equal(offered.labels["target"], plain["target"][offered.of])
    first = run.mining.tally.pieces - 4 * candidates
    assert offered.recipe.piece.tolist() == list(range(first, first + 4 * candidates))
    assert run.mining.tally.candidates == 4 * 4 * candidates
    right = (offered.prediction.argmax(1) == offered.labels["target"]) & (offered.labels["target"] != 255)
    known = (offered.labels["target"] != 255).flatten(1).sum(1)
    torch.testing.assert_close(offered.score, right.flatten(1).sum(1) / known)


def test_hooks_see_candidates_before_the_model_does() -> None:
    mining, seen = search(), []
    scenes = mining.read(batch_of(0))

    def hooks(batch: Batch) -> Batch:
        seen.append(batch)
        return {**batch, "image": batch["image"] * 0}

    mining.offer(scenes, mining.propose(mining.plan(scenes)), hooks)
    assert len(seen) == 1 and seen[0]["image"].any()
    assert mining.offered is not None and not mining.offered.batch["image"].any()
    assert mining.offered.converted.image.any()


def test_one_search_for_each_step_of_the_model() -> None:
    """Where gradients are accumulated, `settle(0)` says that the model is as it was."""
    mining, net, sizes = search(), Net(), []
    for number in range(6):
        scenes = mining.read(batch_of(number))
        tries = mining.propose(mining.plan(scenes))
        mining.offer(scenes, tries)
        mining.judge(net)
        settled = mining.settle(number % 2)
        sizes.append(len(tries))
        assert (settled is None) == (number % 2 == 1)
    assert sizes == [4, 0] * 3 and mining.step == 3


def test_a_step_that_was_skipped_loses_no_verdict() -> None:
    """The model is as it was, so that nothing new is tried; what was found comes into the buffer nevertheless."""
    mining, net, sizes = search(), Net(), []
    for number in range(3):
        scenes = mining.read(batch_of(number))
        tries = mining.propose(mining.plan(scenes))
        mining.offer(scenes, tries)
        mining.judge(net)
        sizes.append(len(tries))
    assert sizes == [4, 0, 0]
    assert mining.tally.candidates == len(mining.buffer) == 4
    assert mining.offered is not None and mining.offered.score is not None
    mining.settle()
    assert mining.tally.candidates == 4 and mining.step == 1


def test_replays_are_counted_once_for_each_time() -> None:
    run, times = Run(search()), torch.zeros(100, dtype=torch.int64)
    for number in range(12):
        run.step(number)
        for piece in run.plans[-1].piece[run.plans[-1].piece >= 0].tolist():
            times[piece] += 1
        buffer = run.mining.buffer
        assert buffer.recipe is not None
        assert torch.equal(buffer.replays, times[buffer.recipe.piece])
    assert times.sum() == 11 * 2


def test_pieces_that_were_replayed_often_enough_leave() -> None:
    run = Run(search(buffer=RecipeBuffer(max_replays=2))).steps(range(12))
    assert run.mining.buffer.left["replayed"] > 0
    assert max(int((torch.cat([rows.piece for rows in run.plans]) == piece).sum()) for piece in range(48)) == 2


def test_the_limits_of_a_given_buffer_hold() -> None:
    given = RecipeBuffer(capacity=7, max_replays=3, max_age=5)
    for _ in range(2):
        run = Run(search(buffer=given)).steps(range(3))
        buffer = run.mining.buffer
        assert (buffer.capacity, buffer.max_replays, buffer.max_age) == (7, 3, 5)
        assert len(buffer) == 7 and len(given) == 0


def test_settled_verdicts_are_those_of_the_model_as_it_was() -> None:
    mining, net = search(decay=0.0), Net()
    scenes = mining.read(batch_of(0))
    mining.offer(scenes, mining.propose(mining.plan(scenes)))
    mining.judge(net)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
    settled = mining.settle()
    assert settled is not None and mining.offered is not None
    recipe, verdict = settled
    assert recipe.piece.tolist() == [0, 1, 2, 3] and verdict.step.tolist() == [0] * 4
    assert torch.equal(verdict.score, mining.offered.score)  # type: ignore[arg-type]
    assert len(set(verdict.score.tolist())) > 1


def test_judging_leaves_no_trace() -> None:
    mining, net = search(decay=0.9), Net()
    scenes = mining.read(batch_of(0))
    mining.offer(scenes, mining.propose(mining.plan(scenes)))
    before, chance = {name: value.clone() for name, value in net.state_dict().items()}, torch.get_rng_state()
    mining.judge(net)
    mining.settle()
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert torch.equal(chance, torch.get_rng_state())
    assert all(module.training for module in net.modules())


def test_the_judge_is_an_average_that_follows_the_updates() -> None:
    """By hand: it stands still for three steps, and the fifth search is judged by 3/4 to the fourth of the first
    weights and what is left of the fifth."""
    run = Run(search(decay=0.75))
    seen = []
    for step in range(5):
        seen.append({name: value.clone() for name, value in run.net.state_dict().items()})
        run.step(step)
        judge = run.mining.state_dict()["judge"]
        assert step == 4 or all(torch.equal(value, judge[name]) for name, value in seen[0].items())
    for name, value in seen[0].items():
        now = seen[4][name]
        expected = 0.75**4 * value + (1 - 0.75**4) * now if value.is_floating_point() else now
        torch.testing.assert_close(judge[name], expected)
    net = Net()
    net.load_state_dict(judge)
    net.eval()
    assert run.mining.offered is not None
    torch.testing.assert_close(run.mining.offered.prediction, net(run.mining.offered.batch["image"]))


# The search with a frozen model


def test_verdicts_at_once_in_the_order_of_the_tries() -> None:
    mining, net = search(), Net()
    mining.read(batch_of(0))
    tries = make_recipe(4, make_store(), target=2).replace(source=torch.tensor([9, 3, 3, 12]))

    def load(rows: Recipe) -> Batch:
        places = zip(rows.source.tolist(), rows.draw.tolist(), strict=True)
        made: Batch = default_collate([NUMBERED[place] for place in places])
        return made

    recipe, verdict = mining.verdicts(tries, load, net)
    assert mining.step == 0 and mining.tally.candidates == 4
    assert recipe.piece.tolist() == [0, 1, 2, 3]
    for name in ("source", "draw", "parameter"):
        assert torch.equal(getattr(recipe, name), getattr(tries, name))
    alone = [search().verdicts(tries[row : row + 1], load, net)[1] for row in range(4)]
    torch.testing.assert_close(verdict.score, torch.cat([one.score for one in alone]))


# What a checkpoint keeps


@pytest.mark.parametrize("stop", [1, 2, 5])
@pytest.mark.parametrize(
    "settings",
    [
        {"start": 0},
        {"start": 3, "candidates": 2, "decay": 0.5},
        {"start": 1, "decay": 1.0, "neighbourhood": Random()},
        {"start": 2, "hardest": 0.3, "threshold": 0.5, "gates": [Teacher(0.0, 0.5)]},
    ],
    ids=["from the first step", "candidates", "frozen judge", "teacher"],
)
def test_a_resumed_run_goes_on_to_the_same_bits(settings: dict[str, Any], stop: int) -> None:
    whole = Run(search(**settings)).steps(range(8))
    begun = Run(search(**settings)).steps(range(stop))
    parts = saved([begun.mining.state_dict(), begun.net.state_dict(), begun.optimizer.state_dict()])
    chance = torch.get_rng_state()  # of the dropout
    again = Run(search(**settings))
    for part, state in zip((again.mining, again.net, again.optimizer), parts, strict=True):
        part.load_state_dict(state)  # type: ignore[attr-defined]
    assert flat(again.mining.state_dict()) == flat(parts[0])  # before a batch has come
    torch.set_rng_state(chance)
    again.steps(range(stop, 8))
    assert flat(begun.plans + again.plans) == flat(whole.plans)
    assert flat(begun.offered + again.offered) == flat(whole.offered)
    assert flat(again.mining.state_dict()) == flat(whole.mining.state_dict())
    assert flat(again.net.state_dict()) == flat(whole.net.state_dict())


def test_a_state_may_come_after_the_first_batch() -> None:
    state = saved(Run(search()).steps(range(3)).mining.state_dict())
    other = search()
    other.read(batch_of(0))
    other.load_state_dict(state)
    assert other.step == 3 and other.tally.candidates == 12 and len(other.buffer) == 12


def test_nothing_is_kept_before_the_first_batch() -> None:
    mining = search()
    assert mining.state_dict() == {}
    mining.load_state_dict({})
    Run(mining).steps(range(1))
    assert mining.tally.candidates == 4


@pytest.mark.parametrize("state", [{"format": 1}, {"format": 2}, {"judge": {}}])
def test_a_state_of_another_version_is_refused(state: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=rf"holds a search in format {state.get('format', 1)}, this version reads 4"):
        search().load_state_dict(state)


def test_a_run_begins_anew() -> None:
    """And leaves what was given as it was given."""
    stopping, gate = Stopping(max_pieces=5), Teacher(0.0, 0.5)
    run = Run(search(stopping=stopping, gates=[gate])).steps(range(3))
    assert len(run.mining.buffer) == 8 and run.mining.stopping.reason is not None
    assert stopping.reason is None and gate.state_dict() == {}
    assert run.mining.gates[0].state_dict()
    run.mining.begin()
    assert run.mining.state_dict() == {} and run.mining.step == 0 and len(run.mining.buffer) == 0
    assert run.mining.stopping.max_pieces == 5 and run.mining.stopping.reason is None
    again = Run(run.mining).steps(range(3))
    assert flat(again.offered) == flat(Run(search(gates=[gate], stopping=stopping)).steps(range(3)).offered)


# What people are told


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.WARNING, logger="hardmine")
    return lambda: [record.getMessage() for record in caplog.records if record.name == "hardmine"]


def test_samples_without_a_number_are_told_of_once(lines: Callable[[], list[str]]) -> None:
    mining = search()
    for number in range(3):
        batch = batch_of(number)
        scenes = mining.read({name: value for name, value in batch.items() if name not in ("index", "draw")})
        assert (mining.plan(scenes).rows.source == -1).all()
    assert [line for line in lines() if "do not say which they are" in line] == [
        "hardmine: the samples do not say which they are: their pieces cannot be made again, and used parameters are "
        "kept for all sources together; wrap the data set in hardmine.Numbered (in a loop of your own its samples must "
        "be dicts)"
    ]


def test_areas_that_the_store_lacks_are_told_once(lines: Callable[[], list[str]]) -> None:
    mining = search(areas=("area0", "area1", "lake"))
    for number in range(2):
        mining.read(batch_of(number))
    assert [line for line in lines() if "lake" in line] == [
        "hardmine: no target of the store has lake: they are never converted (the store has area0, area1, area2)"
    ]


def test_a_view_that_has_read_before_tells_what_it_takes(lines: Callable[[], list[str]]) -> None:
    view = hardmine.View()
    hardmine.ParameterStore.from_loader([batch_of(0)], view, AREAS)
    search(view=view).read(batch_of(0))
    assert len([line for line in lines() if line.startswith("hardmine: images: image, uint8")]) == 1


def test_the_end_tells_and_writes(lines: Callable[[], list[str]], tmp_path: Path) -> None:
    mining = search(ledger=str(tmp_path / "ledger"))
    mining.end()  # nothing has been read
    run = Run(mining).steps(range(3))
    run.mining.end()
    assert run.mining.ledger is not None and len(run.mining.ledger.read()) == run.mining.tally.candidates > 0
    assert not [line for line in lines() if "mined" in line or "brought" in line]
    late = Run(search(start=5)).steps(range(3))
    late.mining.end()
    assert lines()[-1] == (
        "hardmine: nothing was mined: the model was updated 3 times, and mining begins after 5: set start lower"
    )
    hard = Run(search(threshold=0.0)).steps(range(3))
    hard.mining.end()
    assert "candidates brought 0 pieces" in lines()[-1] and "set threshold above the median" in lines()[-1]


def test_images_without_an_area_of_the_targets_are_told_at_the_end(lines: Callable[[], list[str]]) -> None:
    store = make_store(areas=4)
    count = store.count.clone()
    count[:, :3] = 0  # the images have these three
    run = Run(Mining(store.with_(count=count), areas=(*AREAS, "area3"), conversion=ColorTransfer(), start=0))
    run.steps(range(2)).mining.end()
    assert run.mining.tally.candidates == 0
    assert lines()[-1] == (
        "hardmine: nothing was mined: no image has an area that a target of the store has: look at the labels, take "
        "targets with such areas, or a store with missing=whole"
    )


def test_a_ledger_is_a_folder_of_one_run(tmp_path: Path) -> None:
    run = Run(search(ledger=tmp_path / "ledger")).steps(range(2))
    run.mining.end()
    for again in (Ledger(tmp_path / "ledger"), run.mining.ledger):
        assert again is not None
        again.truncate(1)  # a resumed run goes on
    with pytest.raises(InputError, match="holds the verdicts of another run: name an empty folder"):
        Ledger(tmp_path / "ledger").truncate(0)
    assert run.mining.ledger is not None
    run.mining.ledger.truncate(0)  # a second fit
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is no folder"):
        search(ledger=tmp_path / "file")


def test_only_what_was_read_last_is_offered() -> None:
    mining = search()
    scenes = mining.read(batch_of(0))
    plan = mining.plan(scenes)
    mining.read(batch_of(1))
    with pytest.raises(InputError, match="read no other batch between plan and offer"):
        mining.offer(scenes, mining.propose(plan))


def test_a_loop_that_never_judges_is_told(lines: Callable[[], list[str]]) -> None:
    mining = search()
    for number in range(2):
        scenes = mining.read(batch_of(number))
        mining.offer(scenes, mining.propose(mining.plan(scenes)))
        mining.settle()
    mining.end()
    assert lines()[-1].endswith("candidates were made and never judged: call judge before each training step")


@pytest.mark.parametrize(
    "settings",
    [
        {"first": hardmine.First(areas=["lake"])},
        {"neighbourhood": hardmine.SameCell()},
        {"first": hardmine.First(environment="sunny night")},
    ],
)
def test_what_the_search_lacks_is_told_with_the_first_batch(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        search(start=100, **settings).read(batch_of(0))


def test_waiting_for_pieces_needs_a_loader_that_waits() -> None:
    with pytest.raises(InputError, match=r"update\.every searches between two batches"):
        Run(search(update=hardmine.Update(every=2))).steps(range(2))


def test_what_was_found_in_a_batch_is_told_once(lines: Callable[[], list[str]]) -> None:
    Run(search()).steps(range(3))
    assert lines() == [
        "hardmine: images: image, uint8 in [0, 255]; labels: target, label maps; regions: the areas of regions"
    ]


def test_a_strange_search_is_told_of_once(lines: Callable[[], list[str]]) -> None:
    """A model that calls everything one class, in images of that class alone."""
    mining = search(areas=("area0",))
    batch = {**batch_of(0), "regions": torch.zeros(4, 24, 32).byte(), "target": torch.zeros(4, 24, 32).long()}
    net = nn.Module()
    net.forward = lambda image: torch.zeros(len(image), 2, 24, 32)
    for _ in range(8):
        scenes = mining.read(batch)
        mining.offer(scenes, mining.propose(mining.plan(scenes)))
        mining.judge(net)
        mining.settle()
    found = [line for line in lines() if "have the same score" in line]
    assert len(found) == 1 and "so the median is 1 (Th1 is 1.1)" in found[0]


def test_one_rank_tells(lines: Callable[[], list[str]]) -> None:
    mining = search()
    mining.ranks.rank = 1
    mining.tell("nothing")
    assert not lines()


# What is taken where nothing is said


def plain(value: Any) -> Any:
    """Objects as their class and attributes, so that two of them can be compared."""
    if isinstance(value, Space):
        return value.names
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, Tensor):
        return value.tolist()
    if hasattr(value, "__dict__"):
        return type(value).__name__, {name: plain(each) for name, each in vars(value).items()}
    return value


@pytest.fixture(scope="module")
def config() -> DictConfig:
    """The command line's, with nothing said."""
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        return compose("train", ["classes=3", "seed=0"])


@pytest.mark.parametrize("part", ["neighbourhood", "first", "conversion", "buffer", "stopping", "update", "scoring"])
def test_the_parts_of_the_library_are_those_of_the_command_line(part: str, config: DictConfig) -> None:
    mining = Mining(make_store(), areas=AREAS)
    theirs = instantiate(config[part], _convert_="all")
    mine = getattr(mining, part) if part not in ("first", "scoring") else None
    if mine is None:  # made when the first batch comes
        mining.read(batch_of(0))
        assert mining.miner is not None and mining.judging.judge is not None
        mine = mining.miner.first if part == "first" else mining.judging.judge.scoring
    assert plain(mine) == plain(theirs)
    assert plain(theirs) != plain(object())


def test_the_numbers_of_the_library_are_those_of_the_command_line(config: DictConfig) -> None:
    defaults = {name: each.default for name, each in inspect.signature(Mining).parameters.items()}
    block = dict(config.mining)
    assert block.pop("_target_") == "hardmine.Mining" and hardmine.Mining is Mining
    assert block.keys() == {"threshold", "hardest", "start", "mined", "candidates", "decay", "stand_ins", "score_size"}
    assert Mix(**{name: block.pop(name) for name in ("mined", "candidates", "stand_ins", "score_size")}) == Mix()
    assert block == {name: defaults[name] for name in block}
    assert config.seed == defaults["seed"] and not config.gate and not tuple(defaults["gates"])


@pytest.mark.parametrize(
    ("settings", "decay"),
    [({}, 0.995), ({"update": Update()}, 0.995), ({"update": Update(every=2)}, 0.0), ({"decay": 0.5}, 0.5)],
)
def test_the_judge_where_nothing_is_said(settings: dict[str, Any], decay: float) -> None:
    assert Mining(make_store(), **settings).decay == decay


@pytest.mark.parametrize(
    ("settings", "share", "hardest", "threshold"),
    [
        ({}, 1 / 3, 0.1, None),
        ({"threshold": 0.7}, 0.0, 1.0, 0.7),
        ({"threshold": 0}, 0.0, 1.0, 0.0),
        ({"threshold": 0.7, "hardest": 0.2, "mix": Mix(stand_ins=0.25)}, 0.25, 0.2, 0.7),
        ({"mix": Mix(stand_ins=0)}, 0.0, 0.1, None),
        ({"update": Update(every=2)}, 0.0, 0.1, None),
    ],
)
def test_what_a_number_for_th1_changes(
    settings: dict[str, Any], share: float, hardest: float, threshold: float | None
) -> None:
    mining = Mining(make_store(), **settings)
    assert (mining.mix.stand_ins, mining.hardest, mining.threshold) == (share, hardest, threshold)


def test_stand_ins_are_refused_where_the_model_waits_for_pieces() -> None:
    with pytest.raises(
        InputError, match=r"stand_ins must be 0 or left out where update\.every waits for pieces, got 0\.5"
    ):
        Mining(make_store(), update=Update(every=2), mix=Mix(stand_ins=0.5))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"mix": Mix(mined=0)}, "with mined=0 the search is recorded and no piece is trained on"),
        ({"mix": Mix(stand_ins=1)}, "with stand_ins=1 the search is recorded and no piece is trained on"),
        ({"mix": Mix(mined=0), "update": Update(every=2)}, None),
        ({}, None),
    ],
)
def test_a_search_whose_pieces_are_never_trained_on_says_so(
    settings: dict[str, Any], told: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    Mining(make_store(), areas=AREAS, **settings).read(batch_of(0))
    assert told in caplog.text if told else "trained on" not in caplog.text


@pytest.mark.parametrize(("settings", "converted"), [({}, 2), ({"threshold": 0.7}, 0), ({"mix": Mix(stand_ins=0)}, 0)])
def test_rows_are_converted_before_anything_hard_is_found(settings: dict[str, Any], converted: int) -> None:
    mining = Mining(make_store(), start=0, conversion=ColorTransfer(), areas=AREAS, **settings)
    scenes = mining.read(batch_of(0))
    plan = mining.plan(scenes)
    assert len(plan.pieces) == converted and (plan.rows.piece == -1).all()
    assert (mining.make(scenes, plan).image != scenes.image).flatten(1).any(1).sum() == converted


def test_a_prediction_that_is_nan_recognises_nothing() -> None:
    def broken(module: nn.Module, batch: Batch) -> Tensor:
        logits: Tensor = module(batch["image"]).clone()
        logits[0, 1, 5, 5] = torch.nan
        return logits

    run = Run(search(predict=broken)).steps(range(3))
    assert run.mining.offered is not None and run.mining.offered.score is not None
    assert run.mining.offered.score.isnan().tolist() == [True, False, False, False]
    assert run.mining.tally.pieces == 3 * 3  # of four candidates


def test_a_store_of_one_target_is_told(caplog: pytest.LogCaptureFixture) -> None:
    cases: list[tuple[dict[str, Any], bool]] = [({}, True), ({"threshold": 0.7}, False), ({"hardest": 1.0}, False)]
    for settings, told in cases:
        caplog.clear()
        Mining(make_store(targets=1), areas=AREAS, conversion=ColorTransfer(), **settings).read(batch_of(0))
        assert ("the store has one target" in caplog.text) is told


def test_labels_say_how_recognition_is_measured() -> None:
    image = batch_of(0)["image"]
    boxes = {"boxes": torch.tensor([[[2.0, 2, 9, 9]]] * 4), "labels": torch.zeros(4, 1, dtype=torch.int64)}
    batches = {
        PixelRate: {"image": image, "target": batch_of(0)["target"]},
        Confidence: {"image": image, "label": torch.tensor([0, 1, 1, 2])},
        Reliability: {"image": image, **boxes},
    }
    for scoring, batch in batches.items():
        mining = search()
        mining.read(batch)
        assert mining.judging.judge is not None and type(mining.judging.judge.scoring) is scoring
    given = Confidence()
    mining = search(scoring=given)
    mining.read(batches[PixelRate])
    assert mining.judging.judge is not None and mining.judging.judge.scoring is given


# What cannot be


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"decay": -0.1}, "decay must be a share from 0 to 1, got -0.1"),
        ({"decay": 1.5}, "decay must be a share from 0 to 1, got 1.5"),
        ({"decay": float("nan")}, "decay must be a share from 0 to 1, got nan"),
        ({"hardest": 0.0}, "hardest must be a share above 0 and up to 1, got 0.0"),
        ({"hardest": 1.1}, "hardest must be a share above 0 and up to 1, got 1.1"),
        (
            {"threshold": float("nan")},
            'threshold must be "auto" or a recognition accuracy (above 1: all) from 0 to 2, got nan',
        ),
        (
            {"threshold": "0.5"},
            "threshold must be \"auto\" or a recognition accuracy (above 1: all) from 0 to 2, got '0.5'",
        ),
        ({"threshold": 50}, 'threshold must be "auto" or a recognition accuracy (above 1: all) from 0 to 2, got 50'),
        (
            {"neighbourhood": "select"},
            "neighbourhood must be like hardmine.Select(radius=10), got 'select'",
        ),
        (
            {"neighbourhood": Random},
            f"neighbourhood must be like hardmine.Select(radius=10), got {Random!r}",
        ),
        ({"first": "all_areas"}, "first must be like hardmine.First(), got 'all_areas'"),
        ({"scoring": "pixel_rate"}, "scoring must be like hardmine.PixelRate(), got 'pixel_rate'"),
        ({"conversion": "color"}, "conversion must be like hardmine.ColorTransfer(), got 'color'"),
        (
            {"conversion": Reframe(0.7)},
            "conversion: Reframe alone has nothing to search for: put it after another one, Chain([ColorTransfer(), "
            "Reframe()])",
        ),
        ({"buffer": 4}, "buffer must be like hardmine.RecipeBuffer(capacity=4096), got 4"),
        ({"update": 4}, "update must be like hardmine.Update(every=4), got 4"),
        ({"mix": 0.5}, "mix must be like hardmine.Mix(mined=0.5), got 0.5"),
        ({"view": "image"}, "view must be like hardmine.View(image=\"image\"), got 'image'"),
        ({"gates": Teacher}, f"gates must be like [hardmine.Gamut()], got {Teacher!r}"),
        ({"ledger": 3}, "ledger must be a folder, got 3"),
        ({"areas": [0, 1]}, "areas must be a list of different names in label order, got [0, 1]"),
        ({"areas": []}, "areas must be a list of different names in label order, got []"),
        ({"start": -1}, "start must be a number of optimiser steps, 0 or more, got -1"),
        (
            {"update": Update(every=2), "mix": Mix(candidates=2)},
            "update.every searches with one candidate for each row: set candidates=1, got 2",
        ),
    ],
)
def test_a_number_out_of_its_range_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        Mining(make_store(), **settings)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mined": -0.1}, "mined must be a share from 0 to 1, got -0.1"),
        ({"mined": 1.5}, "mined must be a share from 0 to 1, got 1.5"),
        ({"candidates": 0}, "candidates must be a number of candidates per row, 1 or more, got 0"),
    ],
)
def test_a_mix_that_cannot_be_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        Mix(**settings)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: search(areas=None).read(batch_of(0)), "areas: without names the labels cannot be matched"),
        (lambda: search(areas=("area0",)).read(batch_of(0)), "1 areas are named, labels 0 to 0, and a label map has"),
        (lambda: search(areas=("a", "b", "c")).read(batch_of(0)), "have no area in common"),
        (lambda: search().read({"nothing": torch.zeros(3)}), "view: no image found in a batch of keys nothing"),
        (lambda: Run(search(mined=0.05)).steps(range(2)), "mined=0.05 of a batch of 4 is no row: raise it, or set 0"),
        (lambda: search().around(hardmine.MiningDataModule(search(), []), val=[]), "around: a DataModule has its own"),
    ],
)
def test_what_cannot_be_mined_is_refused_in_one_line(made: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError) as caught:
        made()
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_batch_must_be_read_before_it_is_planned() -> None:
    scenes = Scenes(*make_images(2), 3)
    with pytest.raises(ValueError, match="no batch has been read yet: call read first"):
        search().plan(scenes)
    with pytest.raises(ValueError, match="no batch has been read yet: call read first"):
        search().between(3)


def test_nothing_is_judged_where_nothing_was_read() -> None:
    mining = search()
    mining.judge(Net())
    assert mining.settle() is None and mining.step == 1
    assert mining.store.areas == AREAS and mining.tally.candidates == 0


def test_the_store_has_the_areas_of_the_images() -> None:
    mining = Mining(make_store(), conversion=ColorTransfer(), areas=("area2", "stranger", "area0"))
    mining.read(batch_of(0))
    assert mining.store.areas == ("area2", "stranger", "area0") and mining.given.areas == AREAS
    assert Plan(make_recipe(1, mining.store)).rows.chosen.tolist() == [[True, False, True, False]]
