"""Spawned workers: each opens its file in `worker_init_fn`, and has a share of nothing with the main process."""

from typing import Any

from torch.utils.data import DataLoader

import hardmine
from foreign.conftest import AREAS, Segmenter, check_areas
from foreign.spawned import File, open_file


def project() -> tuple[Segmenter, DataLoader[Any]]:
    return Segmenter(), DataLoader(
        File(),
        batch_size=4,
        num_workers=1,
        worker_init_fn=open_file,
        multiprocessing_context="spawn",
        persistent_workers=True,
        prefetch_factor=3,
    )


def test_other_areas_stay(store: hardmine.ParameterStore) -> None:
    check_areas(store, project, lambda batch: batch, areas=AREAS)
