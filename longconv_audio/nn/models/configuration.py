"""What the models' configurations share: checks that name the field, and the layers that a field can name."""

from __future__ import annotations

import importlib

from torch import nn

# Where each layer is at home: its module in `longconv_audio.nn` and its class.
_LAYERS = {
    "depthwise": ("depthwise", "DepthwiseLongConv"),
    "sgconv": ("sgconv", "SGConv"),
    "s4d": ("s4d", "S4D"),
    "hyena": ("hyena", "HyenaOperator"),
}
LAYERS = tuple(_LAYERS)


def make_layer(name: str, channels: int, kernel_size: int, *, bidirectional: bool = False) -> nn.Module:
    """A long convolution layer, `(B, channels, L)` to the same.

    Args:
        name: one of `LAYERS`. "s4d" has kernels as long as the sequence, whatever `kernel_size` is.
        kernel_size: taps.
        bidirectional: two of them, of which one runs backwards in time.
    """
    home, kind = _LAYERS[name]
    make = getattr(importlib.import_module(f"longconv_audio.nn.{home}"), kind)
    arguments = (channels,) if name == "s4d" else (channels, kernel_size)
    if not bidirectional:
        return make(*arguments)
    from ..bidirectional import Bidirectional

    return Bidirectional(make(*arguments), make(*arguments))


def check(config, name: str, right: bool, expected: str) -> None:
    """Names the field that is wrong.

    Raises:
        ValueError: where it is not right.
    """
    if not right:
        raise ValueError(f"{name} is {getattr(config, name)!r}; expected {expected}")


def make_tuple(config, name: str, expected: str) -> None:
    """Lists, as a JSON file has them, become tuples: a configuration can be hashed and compared."""
    check(config, name, isinstance(getattr(config, name), (list, tuple)), f"a tuple of {expected}")
    object.__setattr__(config, name, tuple(getattr(config, name)))


def check_integers(config, **least: int) -> None:
    """Checks the fields that are whole numbers, each against its least value."""
    for name, low in least.items():
        value = getattr(config, name)
        check(config, name, _is_integer(value) and value >= low, f"a whole number, at least {low}")


def check_stack(config) -> None:
    """Checks the fields of models that are stacks of layers: the layer, its taps, pooling and dropout."""
    make_tuple(config, "pooling", "whole numbers, at least 1")
    check_integers(config, sample_rate=1, channels=1, layers=1)
    check(config, "layer", config.layer in LAYERS, f"one of {', '.join(LAYERS)}")
    right = config.kernel_size is None or (_is_integer(config.kernel_size) and config.kernel_size >= 1)
    check(config, "kernel_size", right, "a number of taps, or None for a second")
    right = all(_is_integer(pool) and pool >= 1 for pool in config.pooling)
    check(config, "pooling", right, "whole numbers, at least 1")
    right = isinstance(config.dropout, (int, float)) and 0 <= config.dropout < 1
    check(config, "dropout", right, "a share of at least 0 and below 1")


def taps(config, pooled: int) -> int:
    """The taps of a layer that runs at a rate lowered by the factor `pooled`: by default, a second of them."""
    return config.kernel_size or max(config.sample_rate // pooled, 1)


def _is_integer(value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
