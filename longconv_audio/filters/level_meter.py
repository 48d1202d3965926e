"""Peaks, levels, offset, silence and clipping of a signal, block by block."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from longconv_audio.errors import NonFiniteError
from longconv_audio.levels import count_clipped

# A sample at the top of what 16 bits hold counts as full scale. One alone is a peak; as many of the same value in a row
# as this were cut off.
CLIP_LEVEL, CLIP_RUN = 32766.5 / 32768, 3

# Whose quietest tenth is the noise of a recording.
STEP_SECONDS, QUIETEST = 0.1, 0.1


@dataclass(frozen=True)
class SignalLevels:
    """What a meter has found in one channel.

    Args:
        peak: largest magnitude; full scale is 1.
        peak_sample: where it is first.
        rms: root of the mean square.
        dc: mean.
        l1: sum of the magnitudes.
        l2: root of the sum of squares.
        leading_silence: samples of zero at the start; all where there is no other.
        clipped: samples at full scale or beyond in rows of three or more of the same value.
        beyond_full_scale: samples.
        quietest: mean square of the quietest tenth of a second but one in ten; None where shorter than a second.
    """

    peak: float
    peak_sample: int
    rms: float
    dc: float
    l1: float
    l2: float
    leading_silence: int
    clipped: int
    beyond_full_scale: int
    quietest: float | None


class LevelMeter:
    """Measures what comes in blocks, in fixed memory but for a number each 100 ms.

    Args:
        channels: of the signal.
        samplerate: in hertz.
        name: of the signal, for messages.

    Attributes:
        samples: taken so far.
    """

    def __init__(self, channels: int, samplerate: float, name: str = "the input"):
        self._name, self.samples = name, 0
        self._peak, self._place = np.zeros(channels), np.zeros(channels, int)
        self._sum, self._l1, self._energy = np.zeros(channels), np.zeros(channels), np.zeros(channels)
        self._silent, self._beyond = np.zeros(channels, int), np.zeros(channels, int)
        self._clipped = np.zeros(channels, int)
        self._last = np.full((channels, CLIP_RUN - 1), np.nan)
        self._in_run = np.zeros((channels, 1), bool)
        self._step = max(1, round(STEP_SECONDS * samplerate))
        self._rest, self._steps = np.zeros((channels, 0)), []

    def process(self, x: np.ndarray) -> None:
        """Takes `(channels, n)`.

        Raises:
            NonFiniteError: NaN or infinity. Channels count from 1, samples from 0.
        """
        if not x.shape[1]:
            return
        self._check(x)
        magnitude = np.abs(x)
        silent = self._silent == self.samples
        heard = np.where(magnitude.any(axis=1), magnitude.astype(bool).argmax(axis=1), x.shape[1])
        self._silent[silent] += heard[silent]
        places = magnitude.argmax(axis=1)
        peaks = magnitude[np.arange(len(x)), places]
        higher = peaks > self._peak
        self._peak[higher], self._place[higher] = peaks[higher], places[higher] + self.samples
        self._sum += x.sum(axis=1, dtype=np.float64)
        self._l1 += magnitude.sum(axis=1, dtype=np.float64)
        energy = np.square(x, dtype=np.float64)
        self._energy += energy.sum(axis=1)
        self._beyond += [count_clipped(channel) for channel in x]
        self._find_clipped(x)
        energy = np.concatenate([self._rest, energy], axis=1)
        whole = energy.shape[1] // self._step * self._step
        self._steps.append(energy[:, :whole].reshape(len(x), -1, self._step).mean(axis=-1))
        self._rest = energy[:, whole:]
        self.samples += x.shape[1]

    def result(self) -> list[SignalLevels]:
        """What there is in each channel."""
        count = max(self.samples, 1)
        steps = np.concatenate(self._steps, axis=1) if self._steps else np.zeros((len(self._peak), 0))
        enough = steps.shape[1] * QUIETEST >= 1
        return [
            SignalLevels(
                peak=float(self._peak[i]),
                peak_sample=int(self._place[i]),
                rms=float(np.sqrt(self._energy[i] / count)),
                dc=float(self._sum[i] / count),
                l1=float(self._l1[i]),
                l2=float(np.sqrt(self._energy[i])),
                leading_silence=int(self._silent[i]),
                clipped=int(self._clipped[i]),
                beyond_full_scale=int(self._beyond[i]),
                quietest=float(np.quantile(steps[i], QUIETEST)) if enough else None,
            )
            for i in range(len(self._peak))
        ]

    def _check(self, x: np.ndarray) -> None:
        finite = np.isfinite(x)
        if finite.all():
            return
        sample = int(np.argmin(finite.all(axis=0)))
        channel = int(np.argmin(finite[:, sample]))
        found = "NaN" if np.isnan(x[channel, sample]) else "infinity"
        raise NonFiniteError(
            f"{self._name}: {found} at channel {channel + 1} (of {len(x)}), sample {self.samples + sample}: "
            "mend the file first"
        )

    def _find_clipped(self, x: np.ndarray) -> None:
        joined = np.concatenate([self._last, x], axis=1)
        self._last = joined[:, 1 - CLIP_RUN :].copy()
        if not np.abs(joined).max(initial=0.0, where=~np.isnan(joined)) >= CLIP_LEVEL:
            self._in_run[:] = False
            return
        same = (joined[:, 1:] == joined[:, :-1]) & (np.abs(joined[:, 1:]) >= CLIP_LEVEL)
        # Of the samples that complete a run; the first of a run stands for the ones before it, too.
        ends = np.lib.stride_tricks.sliding_window_view(same, CLIP_RUN - 1, axis=1).all(axis=-1)
        begun = ends & ~np.concatenate([self._in_run, ends[:, :-1]], axis=1)
        self._clipped += ends.sum(axis=1) + (CLIP_RUN - 1) * begun.sum(axis=1)
        self._in_run = ends[:, -1:].copy()
