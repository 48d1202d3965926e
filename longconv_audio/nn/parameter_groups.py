"""The parameters of a model as an optimiser is to treat them."""

from __future__ import annotations

from torch import nn

_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.modules.batchnorm._NormBase)


def parameter_groups(module: nn.Module, lr: float, weight_decay: float) -> list[dict]:
    """Groups for `torch.optim`: biases, norms, skip terms and other vectors without weight decay, and what layers ask
    for theirs (`S4D`: a learning rate of its own, at most `lr`, and no weight decay for its dynamics).

    Args:
        module: whose parameters that require a gradient are grouped, each once.
        lr, weight_decay: of all the others.

    A layer asks by a method `parameter_options(lr)`, which gives what differs by the names of its parameters.

    >>> groups = parameter_groups(nn.Linear(3, 4), lr=0.01, weight_decay=0.1)
    >>> [(len(group["params"]), group["weight_decay"]) for group in groups]
    [(1, 0.1), (1, 0.0)]
    """
    groups: dict[tuple, dict] = {}
    seen = set()
    for part in module.modules():
        asked = part.parameter_options(lr) if hasattr(part, "parameter_options") else {}
        for name, parameter in part.named_parameters(recurse=False):
            if not parameter.requires_grad or id(parameter) in seen:
                continue
            seen.add(id(parameter))
            plain = isinstance(part, _NORMS) or name == "bias" or parameter.ndim <= 1
            options = {"lr": lr, "weight_decay": 0.0 if plain else weight_decay, **asked.get(name, {})}
            key = tuple(sorted(options.items()))
            groups.setdefault(key, {"params": [], **options})["params"].append(parameter)
    return list(groups.values())
