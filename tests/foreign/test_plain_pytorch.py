"""PyTorch without Lightning: a loop written by hand drives the same object."""

import math

import torch
from torch import nn

import hardmine
from foreign.conftest import AREAS, Segmented, Segmenter, loader


def test_a_hand_written_loop(store: hardmine.ParameterStore) -> None:
    mining = hardmine.Mining(store, areas=AREAS, threshold=1.1, hardest=1.0, start=1)
    model, data, losses = Segmenter().net, loader(Segmented()), []
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(3):
        for batch in data:
            scenes = mining.read(batch)
            plan = mining.plan(scenes)
            made = mining.make(scenes, plan)
            mining.offer(scenes, mining.propose(plan))
            image, labels = mining.view.write(batch, scenes, made)
            mining.judge(model)
            model.train()
            loss = nn.functional.cross_entropy(model(image), labels)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            mining.settle()
            losses.append(float(loss.detach()))
    assert mining.tally.pieces > 0
    assert all(map(math.isfinite, losses))
