"""What the search costs where the store, the buffer and the areas are many; no network and no pixels, one core.

propose_ms         proposals for 256 rows, half of them pieces, by `blend` over --targets targets
propose_ratio      the same / over a tenth of the targets
admit_ms           admission of 8 candidates of which 4 become pieces, 4,096 pieces in the buffer, 19 areas
admit_ratio        with 100,000 pieces in the buffer / that
ratio_scores_areas scores of 8 images with 150 areas / with 12, the same pixels
buffer_mb          100,000 pieces with 11 areas
checkpoint_s       saving and loading the search with both

Milliseconds and ratios are median, first and third quartile; every way is run once in each round.
"""

import io
import time
from collections.abc import Callable

import torch
from measuring import here, parser, quartiles, ratios, show, taking_turns

from hardmine import Blend, ParameterStore, RecipeBuffer
from hardmine.judge.scoring import PixelRate
from hardmine.miner import Miner
from hardmine.records import Recipe, Verdict
from hardmine.space import LAB


def store_of(targets: int, areas: int) -> ParameterStore:
    generator = torch.Generator().manual_seed(0)
    low, span = torch.tensor([20.0, -20, -20, 4, 2, 2]), torch.tensor([60.0, 40, 40, 16, 8, 8])
    parameters = low + span * torch.rand(targets, areas + 1, 6, generator=generator)
    count = torch.full((targets, areas + 1), 1000)
    names = tuple(f"area{number}" for number in range(areas))
    return ParameterStore(parameters, count, names, [str(number) for number in range(targets)], {}, LAB)


def rows_of(n: int, areas: int, start: int = 0) -> Recipe:
    numbers = torch.arange(start, start + n)
    clean = Recipe.clean(numbers, numbers, areas + 1, 6)
    return clean.replace(present=torch.ones_like(clean.present))


def filled(miner: Miner, pieces: int) -> None:
    """Fill the buffer with pieces of stored parameters."""
    areas = len(miner.store.areas)
    generator = torch.Generator().manual_seed(1)
    for start in range(0, pieces, 4096):
        n = min(4096, pieces - start)
        target = torch.randint(len(miner.store), (n, 1), generator=generator).expand(n, areas + 1)
        chosen = torch.ones(n, areas + 1, dtype=torch.bool)
        chosen[:, -1] = False
        recipe = miner.store.recipe(rows_of(n, areas, start), target, chosen)
        none = torch.full((n,), -1)
        score = torch.rand(n, generator=generator)
        area_score = score[:, None].expand(-1, areas + 1)
        verdict = Verdict(score, area_score, torch.ones(n, dtype=torch.bool), none, torch.zeros(n).long(), -score)
        miner.graph.update(recipe, verdict)
        miner.buffer.admit(recipe, verdict)


def proposals(targets: int) -> Callable[[], object]:
    miner = Miner(store_of(targets, 11), Blend(), buffer=RecipeBuffer(capacity=4096), hardest=0.1)
    filled(miner, 1024)
    pieces, other = miner.buffer.recipe, rows_of(128, 11, 10_000)
    assert pieces is not None
    rows = Recipe.cat([pieces[:128], other])
    return lambda: miner.propose(rows, 0)


def admissions(pieces: int) -> Callable[[], object]:
    miner = Miner(store_of(1000, 19), Blend(), buffer=RecipeBuffer(capacity=pieces), hardest=0.5)
    filled(miner, pieces)
    tries = miner.propose(rows_of(8, 19), 0)
    score = torch.linspace(0.2, 0.9, 8)
    area_score, gate = score[:, None].expand(-1, 20), torch.full((8,), -1)
    return lambda: miner.admit(tries, score, area_score, gate)


def scores(areas: int) -> Callable[[], object]:
    """Of 8 images of 192 x 256 and 19 classes."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(8, 19, 192, 256, generator=generator)
    block = torch.arange(192)[:, None] // 16 * 13 + torch.arange(256) // 20  # 12 x 13
    regions = block.clamp(max=areas - 1).byte().expand(8, -1, -1).contiguous()
    batch = {"target": regions % 19, "regions": regions}
    chosen = torch.ones(8, areas + 1, dtype=torch.bool)
    return lambda: PixelRate()(logits, batch, areas, chosen)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--times", type=int, default=15, help="measurements of each")
    options.add_argument("--targets", type=int, default=1_000_000, help="of the large store")
    arguments = options.parse_args()
    torch.set_num_threads(1)
    ways = {
        "propose": proposals(arguments.targets),
        "propose_tenth": proposals(arguments.targets // 10),
        "admit": admissions(4096),
        "admit_many": admissions(100_000),
        "scores": scores(12),
        "scores_many": scores(150),
    }
    spent = taking_turns(ways, arguments.times)
    milliseconds = {name: quartiles([1e3 * each for each in values]) for name, values in spent.items()}
    miner = Miner(store_of(1000, 11), Blend(), buffer=RecipeBuffer(capacity=100_000), hardest=0.1)
    filled(miner, 100_000)
    started = time.process_time()
    file = io.BytesIO()
    torch.save(miner.state_dict(), file)
    file.seek(0)
    miner.load_state_dict(torch.load(file, weights_only=True))
    result = {
        "propose_ms": milliseconds["propose"],
        "propose_ratio": quartiles(ratios(spent["propose"], spent["propose_tenth"])),
        "admit_ms": milliseconds["admit"],
        "admit_ratio": quartiles(ratios(spent["admit_many"], spent["admit"])),
        "ratio_scores_areas": quartiles(ratios(spent["scores_many"], spent["scores"])),
        "buffer_mb": round(miner.buffer.nbytes / 2**20, 1),
        "checkpoint_s": round(time.process_time() - started, 2),
        "targets": arguments.targets,
        **here(),
    }
    show(result, arguments.json)


if __name__ == "__main__":
    main()
