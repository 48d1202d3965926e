"""Running what was trained on a stream: block by block, with state, to the same result.

    state = layer.init_state(batch)
    y, state = layer.stream(block, state)

A state is a dict of tensors, or of such dicts, each tensor with the batch in front: it can be saved, moved to a device
and indexed by batch with `map_state`. `stream` writes into the state that it is given: `map_state(torch.clone, state)`
keeps one for later.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

# What acts on each time step alone, so that a block of a stream needs no state. Dropout is none in evaluation.
_POINTWISE = (
    nn.Identity,
    nn.GELU,
    nn.SiLU,
    nn.ReLU,
    nn.LeakyReLU,
    nn.ELU,
    nn.PReLU,
    nn.Tanh,
    nn.Sigmoid,
    nn.Softplus,
    nn.Hardswish,
    nn.Mish,
    nn.Dropout,
    nn.Dropout1d,
    nn.BatchNorm1d,
)


class Streamable(nn.Module):
    """A module that has a streaming form. Subclasses give `init_state` and `stream`."""

    def init_state(self, batch: int, *, device=None, dtype=None) -> dict:
        """The state before the first sample.

        Args:
            batch: sequences that run side by side.
            device, dtype: of the blocks to come; by default those of the parameters.
        """
        raise NotImplementedError(f"{type(self).__name__} has no streaming form")

    def stream(self, block: torch.Tensor, state: dict) -> tuple[torch.Tensor, dict]:
        """The next block of the stream's output, without gradients.

        Args:
            block: `(batch, channels, n)`, any n from 0 up.
            state: what `init_state`, `prefill` or the call before gave; it is written into.
        """
        raise NotImplementedError(f"{type(self).__name__} has no streaming form")

    def prefill(self, x: torch.Tensor) -> dict:
        """The state after all of x, `(batch, channels, samples)`, in one transform a convolution."""
        return self.stream(x, self.init_state(x.shape[0], device=x.device, dtype=x.dtype))[1]

    def prepared(self, name: str, make: Callable):
        """What `make` gives from the parameters, made anew when one of them or of the buffers has changed.

        Changes in the midst of a stream are seen where torch counts them: none through `.data`, none of a fused
        optimiser, none of tensors made in inference mode. A layer's `init_state` therefore calls `prepare_anew`.
        """
        tensors = [
            t
            for module in (self.modules() if self._modules else (self,))
            for held in (module._parameters, module._buffers)
            for t in held.values()
            if t is not None
        ]
        stamp = [(id(t), t.data_ptr(), None if t.is_inference() else t._version, t.dtype) for t in tensors]
        kept = self.__dict__.setdefault("_prepared", {})
        if name not in kept or kept[name][0] != stamp:
            with torch.no_grad():
                kept[name] = (stamp, make(), tensors)  # whose ids nothing else can have as long as they are held
        return kept[name][1]

    def prepare_anew(self) -> None:
        """Forgets what is prepared: for a stream that begins, of parameters that may have changed in any way."""
        self.__dict__.pop("_prepared", None)

    def __getstate__(self):
        return {name: value for name, value in self.__dict__.items() if name != "_prepared"}


def init_state(module: nn.Module, batch: int, *, device=None, dtype=None) -> dict:
    """The state of any module that can stream: of this package, of torch where it acts on time steps alone, or a
    `torch.nn.Sequential` of such.

    Raises:
        ValueError: for a module that cannot stream, by name and reason.
    """
    if isinstance(module, Streamable):
        return module.init_state(batch, device=device, dtype=dtype)
    if _is_sequence(module):
        return {name: init_state(part, batch, device=device, dtype=dtype) for name, part in module._modules.items()}
    _check_pointwise(module)
    return {}


def stream(module: nn.Module, block: torch.Tensor, state: dict) -> tuple[torch.Tensor, dict]:
    """The next block through any module that can stream; see `init_state`."""
    if isinstance(module, Streamable):
        return module.stream(block, state)
    if _is_sequence(module):
        for name, part in module._modules.items():
            block, state[name] = stream(part, block, state[name])
        return block, state
    if not block.shape[-1]:  # of which torch makes no convolution
        channels = module.out_channels if isinstance(module, nn.Conv1d) else block.shape[1]
        return block.new_zeros(len(block), channels, 0), state
    with torch.no_grad():
        return module(block), state


class StreamingModel:
    """A model on one stream, with the state kept inside.

    Args:
        model: any module that `init_state` takes, in evaluation.
        batch: sequences that run side by side.

    Raises:
        ValueError: for a model in training, and one that cannot stream.

    What `process` gives for blocks of any size is what the model would give for the whole, cut in the same places
    (a layer that lowers the rate answers with fewer samples, when it has them).

    >>> model = StreamingModel(nn.Sequential(nn.GELU(), nn.Conv1d(2, 3, 1)).eval())
    >>> model.process(torch.ones(1, 2, 5)).shape
    torch.Size([1, 3, 5])
    """

    def __init__(self, model: nn.Module, batch: int = 1):
        if model.training:
            raise ValueError(f"{type(model).__name__} is in training: call eval() before streaming")
        self.model, self.batch = model, batch
        self.reset()

    def process(self, block: torch.Tensor) -> torch.Tensor:
        """The model's answer to the next block, `(batch, channels, n)`."""
        y, self.state = stream(self.model, block, self.state)
        return y

    def prefill(self, x: torch.Tensor) -> None:
        """Begins anew, with x as what was heard so far."""
        self.reset()
        self.process(x)

    def reset(self) -> None:
        """Forgets the stream so far."""
        parameter = next(self.model.parameters(), None)
        device, dtype = (None, None) if parameter is None else (parameter.device, parameter.dtype)
        self.state = init_state(self.model, self.batch, device=device, dtype=dtype)


def map_state(function: Callable[[torch.Tensor], torch.Tensor], state: dict) -> dict:
    """The state with a function applied to each of its tensors.

    >>> map_state(lambda t: t[:1], {"past": torch.zeros(2, 3)})["past"].shape
    torch.Size([1, 3])
    """
    return {
        name: map_state(function, value) if isinstance(value, dict) else function(value)
        for name, value in state.items()
    }


def _is_sequence(module: nn.Module) -> bool:
    """Whether its parts one after another are all that it does. (`named_children` would skip a part's second place.)"""
    return isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward


def _check_pointwise(module: nn.Module) -> None:
    if isinstance(module, nn.BatchNorm1d) and (module.training or not module.track_running_stats):
        raise ValueError("BatchNorm1d in training looks at the whole sequence: call eval() before streaming")
    if isinstance(module, (nn.Dropout, nn.Dropout1d)) and module.training:
        raise ValueError(f"{type(module).__name__} in training is random: call eval() before streaming")
    one = isinstance(module, nn.Conv1d) and module.kernel_size == (1,) and module.stride == (1,)
    if not (isinstance(module, _POINTWISE) or (one and module.padding == (0,))):
        raise ValueError(
            f"{type(module).__name__} has no streaming form; expected layers of longconv_audio.nn, or of torch.nn what "
            "acts on each time step alone"
        )
