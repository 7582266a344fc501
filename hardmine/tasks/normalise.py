"""The input that networks pretrained on ImageNet expect."""

import torch
from torch import Tensor, nn

MEAN = (0.485, 0.456, 0.406)  # of ImageNet's red, green, blue in [0, 1]
STD = (0.229, 0.224, 0.225)


class Normalise(nn.Module):
    """Images (N, 3, H, W) float in [0, 1] to mean 0 and standard deviation 1 over ImageNet."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(3, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        result: Tensor = (image - self.mean) / self.std  # type: ignore[operator]
        return result
