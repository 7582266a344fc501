"""The rival that searches by gradient: one style for the whole image, moved to where the loss is higher."""

from typing import Any

import lightning as L
import torch
from torch import Tensor

from hardmine.errors import InputError
from hardmine.judge import without_trace

_FLAT = 1e-5  # standard deviation below which a channel has no contrast to speak of
_LEAST = 0.1  # share of its contrast that a channel keeps; a negative one would be a photographic negative


class AdversarialStyle(L.Callback):
    """Trains on adversarial styles beside the clean images, after AdvStyle (Zhong et al., NeurIPS 2022).

    The style of an image is the mean m and the standard deviation s of each of its three channels. With the gradient
    g of the module's `loss` with respect to the six numbers, divided by its L2 norm over them, an image x becomes

        (x - m) / s * (s + step * g_s) + m + step * g_m, clipped to [0, 1]

    The paper takes one such ascent step with the gradient as it is; dividing by the norm makes the step independent of
    the size of the loss and of the batch. New standard deviations stay at a tenth of the old ones or above. Batches
    keep their size: the last rows are changed, the others stay clean. The gradient is of the present model in eval
    mode and leaves nothing behind in it.

    Args:
        rows: share of each batch, its last rows, that gets a new style.
        step: length of the step in the six numbers, images in [0, 1]; 0.25 moves a mean by 0.05 to 0.1.

    Raises:
        InputError: a number out of its range; in training, a module without `loss(batch)`, or images that are no
            floating-point numbers.
    """

    def __init__(self, rows: float = 0.5, step: float = 0.25) -> None:
        if not 0 <= rows <= 1:
            raise InputError(f"rows must be a share from 0 to 1, got {rows}")
        if step < 0:
            raise InputError(f"step must not be negative, got {step}")
        self.rows, self.step = rows, step

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not callable(getattr(pl_module, "loss", None)):
            raise InputError(f"AdversarialStyle needs `loss(batch)`, which {type(pl_module).__name__} has not: add it")

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        image = batch.get("image") if isinstance(batch, dict) else None
        if not isinstance(image, Tensor) or not image.is_floating_point():
            raise InputError("AdversarialStyle needs batches that are dicts with float `image` in [0, 1]")
        clean = len(image) - round(self.rows * len(image))
        if clean == len(image):
            return
        part = {
            name: value[clean:] if isinstance(value, Tensor) and value.ndim and len(value) == len(image) else value
            for name, value in batch.items()
        }
        # a detector may draw random numbers where it computes its losses, on the device too
        devices = [image.device] if image.is_cuda else []
        with torch.random.fork_rng(devices), without_trace(pl_module), trainer.precision_plugin.forward_context():
            changed = self._restyled(pl_module, part)
        batch["image"] = torch.cat([image[:clean], changed])

    def _restyled(self, pl_module: Any, batch: dict[str, Any]) -> Tensor:
        """Images (N, 3, H, W) one step further up the loss."""
        image = batch["image"].detach()
        std, mean = torch.std_mean(image, dim=(2, 3), correction=0, keepdim=True)
        content = (image - mean) / std.clamp(min=_FLAT)
        style = torch.cat([mean, std], dim=1)
        with torch.enable_grad():
            style.requires_grad_()
            loss = pl_module.loss({**batch, "image": _image(content, style)})
            (gradient,) = torch.autograd.grad(loss, style)
        gradient = gradient.nan_to_num(0, 0, 0)  # an image with void alone has no loss
        up = gradient / gradient.norm(dim=1, keepdim=True).clamp(min=torch.finfo(gradient.dtype).tiny)
        moved = style.detach() + self.step * up
        new_mean, new_std = moved.chunk(2, dim=1)
        made = _image(content, torch.cat([new_mean, torch.maximum(new_std, _LEAST * std)], dim=1))
        return made.clamp(0, 1).to(image.dtype)


def _image(content: Tensor, style: Tensor) -> Tensor:
    """Content (N, 3, H, W) of mean 0 and deviation 1 in a style (N, 6, 1, 1): three means, three deviations."""
    mean, std = style.chunk(2, dim=1)
    return content * std + mean
