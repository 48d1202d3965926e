"""Loudness of a recording after ITU-R BS.1770 and EBU R 128, at once or block by block."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

INSTALL = "loudness is measured by pyloudnorm 0.2 or later: pip install 'longconv-audio[loudness]'"

# Which channels count, of left, right, centre and the surrounds: the low-frequency one of 5.1 does not (BS.1770-4).
_COUNTED = {1: [0], 2: [0, 1], 3: [0, 1, 2], 5: [0, 1, 2, 3, 4], 6: [0, 1, 2, 4, 5]}

# The K-weighting rises about 1.68 kHz, and has no place at a rate whose half is hardly above.
LOWEST_RATE = 4000

# Powers are kept of steps of 100 ms: gating blocks are four of them, each a step on, and short-term loudness thirty.
STEP_SECONDS, BLOCK_STEPS, SHORT_TERM_STEPS = 0.1, 4, 30
ABSOLUTE_GATE, RELATIVE_GATE, RANGE_GATE = -70.0, -10.0, -20.0

# How much is measured in one go, and how much of what came before it runs through the filters first: the 38 Hz
# high-pass of the K-weighting forgets within a small part of it.
CHUNK_SECONDS, RUN_UP_SECONDS = 20, 1


@dataclass(frozen=True)
class Loudness:
    """How loud a recording is.

    Args:
        integrated: in LUFS; None where it cannot be measured.
        range: loudness range in LU; None where it cannot be measured.
        missing: for each that is None, why.
    """

    integrated: float | None
    range: float | None
    missing: dict[str, str]


def loudness(x: np.ndarray, samplerate: int) -> Loudness:
    """Integrated loudness and loudness range.

    Args:
        x: (samples,) or (channels, samples), full scale 1. Three channels are left, right, centre; five have two
            surrounds behind these; six are 5.1 in the order of WAV.
        samplerate: in hertz.

    Source: ITU-R BS.1770-4; EBU R 128; EBU Tech 3342 (range).
    """
    x = np.atleast_2d(x)
    meter = LoudnessMeter(len(x), samplerate)
    meter.process(x)
    return meter.result()


class LoudnessMeter:
    """`loudness` of what comes in blocks, in fixed memory but for a number each 100 ms.

    The weighting is pyloudnorm's, in the version whose coefficients at 48 kHz are those of BS.1770 ("DeMan").

    Args:
        channels: of the signal.
        samplerate: in hertz.
    """

    def __init__(self, channels: int, samplerate: int):
        self._rate, self._counted = samplerate, _COUNTED.get(channels)
        self._samples, self._powers = 0, []
        self._waiting = np.zeros((0, 0))
        self._run_up = np.zeros((0, 0))
        self._meter = None
        if self._counted is None:
            self._reason = f"{channels} channels: loudness is defined here for 1, 2, 3, 5 or 6 (5.1)"
            return
        if samplerate < LOWEST_RATE:
            self._reason = f"at {samplerate:g} Hz: loudness takes a sample rate of {LOWEST_RATE} Hz or more"
            return
        self._reason = INSTALL
        try:
            from pyloudnorm import Meter
        except ImportError:
            return
        meter = Meter(samplerate, filter_class="DeMan", block_size=STEP_SECONDS, overlap=0.0)
        if hasattr(meter, "blockwise_loudness"):
            self._meter = meter
            self._waiting = self._run_up = np.zeros((len(self._counted), 0))

    def process(self, x: np.ndarray) -> None:
        """Takes `(channels, n)`."""
        if self._meter is None:
            return
        self._samples += x.shape[1]
        self._waiting = np.concatenate([self._waiting, x[self._counted]], axis=1)
        chunk = CHUNK_SECONDS * self._rate
        while self._waiting.shape[1] >= chunk:
            self._measure(self._waiting[:, :chunk], CHUNK_SECONDS * round(1 / STEP_SECONDS))
            self._run_up = self._waiting[:, chunk - RUN_UP_SECONDS * self._rate : chunk]
            self._waiting = self._waiting[:, chunk:]

    def result(self) -> Loudness:
        """The loudness of all that came; nothing may come after."""
        if self._meter is None:
            return Loudness(None, None, dict.fromkeys(("integrated", "range"), self._reason))
        steps = int(self._waiting.shape[1] / (STEP_SECONDS * self._rate))
        if steps:
            self._measure(self._waiting[:, : math.ceil(steps * STEP_SECONDS * self._rate)], steps)
            self._waiting = self._waiting[:, :0]
        powers = np.concatenate(self._powers) if self._powers else np.zeros(0)
        values, missing = {}, {}
        for name, steps, measure in (("integrated", BLOCK_STEPS, _integrated), ("range", SHORT_TERM_STEPS, _range)):
            blocks = np.lib.stride_tricks.sliding_window_view(powers, steps).mean(-1) if len(powers) >= steps else ()
            values[name] = measure(np.asarray(blocks)) if len(blocks) else None
            if not len(blocks):
                missing[name] = f"shorter than {steps * STEP_SECONDS:g} s"
            elif values[name] is None:
                missing[name] = f"nothing is louder than {ABSOLUTE_GATE:g} LUFS"
        return Loudness(values["integrated"], values["range"], missing)

    def _measure(self, x: np.ndarray, steps: int) -> None:
        before = self._run_up.shape[1]
        data = np.concatenate([self._run_up, x], axis=1).T.astype(np.float64)
        self._meter.integrated_loudness(data)
        levels = np.asarray(self._meter.blockwise_loudness)[round(before / (STEP_SECONDS * self._rate)) :][:steps]
        self._powers.append(10 ** ((levels + 0.691) / 10))


def _integrated(powers: np.ndarray) -> float | None:
    heard = powers[_level(powers) >= ABSOLUTE_GATE]
    if not heard.size:
        return None
    return float(_level(heard[_level(heard) > _level(heard.mean()) + RELATIVE_GATE].mean()))


def _range(powers: np.ndarray) -> float | None:
    heard = powers[_level(powers) >= ABSOLUTE_GATE]
    if not heard.size:
        return None
    levels = _level(heard)
    low, high = np.percentile(levels[levels >= _level(heard.mean()) + RANGE_GATE], (10, 95))
    return float(high - low)


def _level(power: np.ndarray) -> np.ndarray:
    return -0.691 + 10 * np.log10(np.maximum(power, 1e-30))
