"""`longconv doctor --calibrate`: the rates of this machine's GPUs, measured and kept for `longconv plan`."""

from __future__ import annotations

from longconv_audio.errors import OptionError

from .messages import print_json, put

# Of rates, as people read them.
UNITS = {
    **dict.fromkeys(("memory", "cache", "shared"), ("TB/s", 1e12)),
    **dict.fromkeys(("fma", "double", "tensor"), ("TFLOP/s", 1e12)),
    "launch": ("us", 1e-6),
}


def calibrate_all(json: bool) -> None:
    """Measures each kind of GPU once.

    Raises:
        OptionError: where there is none.
    """
    import torch

    from longconv_audio.engines.cuda import calibration

    if not torch.cuda.device_count():
        raise OptionError("--calibrate: there is no GPU here that torch can use")
    kinds = {calibration.identity(i): i for i in range(torch.cuda.device_count())}
    made = []
    for (name, driver), index in kinds.items():
        path = calibration.calibrate(index)
        rates = calibration.load(path, name, driver)
        made.append({"device": name, "driver": driver, "file": str(path), "rates": rates})
    if json:
        print_json({"calibrated": made})
        return
    for entry in made:
        put(f"{entry['device']}: kept in {entry['file']}")
        for name, rate in entry["rates"].items():
            unit, scale = UNITS[name]
            put(f"  {name:<8} {rate / scale:10.2f} {unit}")
