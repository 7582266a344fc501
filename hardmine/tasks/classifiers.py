"""A classifier of torchvision for any number of classes, pretrained or not."""

from torch import nn
from torchvision.models import get_model, get_model_weights

from hardmine.errors import InputError


def classifier(num_classes: int, name: str = "resnet18", weights: str | None = None) -> nn.Module:
    """torchvision's network; pretrained weights go wherever they have the shape of its own.

    Args:
        num_classes: classes.
        name: torchvision's name of the network.
        weights: torchvision's name of its pretrained weights, which are downloaded; None starts from scratch.

    Raises:
        InputError: weights that torchvision does not have.
    """
    net: nn.Module = get_model(name, weights=None, num_classes=num_classes)
    if weights is None:
        return net
    there = get_model_weights(name).__members__
    if weights not in there:
        raise InputError(f"`weights`={weights}: {name} has {', '.join(there)}, or null for none", "model")
    theirs, own = there[weights].get_state_dict(progress=False, check_hash=True), net.state_dict()
    fitting = {key: value for key, value in theirs.items() if key in own and value.shape == own[key].shape}
    net.load_state_dict({**own, **fitting})
    return net
