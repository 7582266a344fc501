"""What the search costs where the store, the buffer and the areas are many; no network and no pixels, one core.

propose_ms    proposals for 256 rows, half of them pieces, by `blend` over --targets targets
propose_ratio the same over a tenth of the targets: what grows with the store grows by ten
admit_ms      admission of 8 candidates of which 4 become pieces, 4,096 pieces in the buffer, 19 areas
buffer_mb     100,000 pieces with 11 areas
checkpoint_s  saving and loading the search with both
"""

import argparse
import io
import json
import platform
import statistics
import time
from collections.abc import Callable

import torch

from hardmine import Blend, ParameterStore, RecipeBuffer
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


def median_ms(work: Callable[[], object], times: int) -> tuple[float, list[float]]:
    """Median and quartiles of CPU time."""
    work()
    spent = []
    for _ in range(times):
        started = time.process_time()
        work()
        spent.append((time.process_time() - started) * 1e3)
    low, middle, high = statistics.quantiles(spent, n=4)
    return round(middle, 3), [round(low, 3), round(high, 3)]


def proposals(targets: int, times: int) -> tuple[float, list[float]]:
    miner = Miner(store_of(targets, 11), Blend(), buffer=RecipeBuffer(capacity=4096), hardest=0.1)
    filled(miner, 1024)
    pieces, other = miner.buffer.recipe, rows_of(128, 11, 10_000)
    assert pieces is not None
    rows = Recipe.cat([pieces[:128], other])
    return median_ms(lambda: miner.propose(rows, 0), times)


def admissions(times: int) -> tuple[float, list[float]]:
    miner = Miner(store_of(1000, 19), Blend(), buffer=RecipeBuffer(capacity=4096), hardest=0.5)
    filled(miner, 4096)
    tries = miner.propose(rows_of(8, 19), 0)
    score = torch.linspace(0.2, 0.9, 8)
    area_score, gate = score[:, None].expand(-1, 20), torch.full((8,), -1)
    return median_ms(lambda: miner.admit(tries, score, area_score, gate), times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    parser.add_argument("--times", type=int, default=15, help="measurements of each")
    parser.add_argument("--targets", type=int, default=1_000_000, help="of the large store")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    large = proposals(arguments.targets, arguments.times)
    small = proposals(arguments.targets // 10, arguments.times)
    admit = admissions(arguments.times)
    miner = Miner(store_of(1000, 11), Blend(), buffer=RecipeBuffer(capacity=100_000), hardest=0.1)
    filled(miner, 100_000)
    started = time.process_time()
    file = io.BytesIO()
    torch.save(miner.state_dict(), file)
    file.seek(0)
    miner.load_state_dict(torch.load(file, weights_only=True))
    result = {
        "propose_ms": large[0],
        "propose_ms_quartiles": large[1],
        "propose_ratio": round(large[0] / small[0], 2),
        "admit_ms": admit[0],
        "admit_ms_quartiles": admit[1],
        "buffer_mb": round(miner.buffer.nbytes / 2**20, 1),
        "checkpoint_s": round(time.process_time() - started, 2),
        "targets": arguments.targets,
        "processor": platform.processor() or platform.machine(),
        "torch": torch.__version__,
    }
    if arguments.json:
        print(json.dumps(result))
        return
    for name, value in result.items():
        print(f"{name:22} {value}")


if __name__ == "__main__":
    main()
