"""A recording of an excitation, deconvolved as a whole, and where in it each pass is."""

from __future__ import annotations

import numpy as np
import scipy.fft

from longconv_audio.errors import MismatchError

from .excitation import Excitation
from .inversion import inverse_spectrum

# A pass is looked for by the energy of its response over this long, in seconds: more than clocks drift in minutes.
WINDOW = 0.02

# From where most of that energy is, the direct sound is looked for so far to both sides, in seconds.
SEARCH = 0.2

# The direct sound is the first peak of a response within so many dB of its largest: reflections that come together can
# be louder, and a band with sharp edges rings at -12 dB ahead of an impulse between two samples. Where noise comes
# near, it is the first within the second figure. A response quieter than the loudest by the third does not decide.
DIRECT_DB, NOISY_DIRECT_DB, LOUD_DB = -11.0, -6.0, -30.0

# The largest value of noise is about 5 times its root mean square, over as many samples as there are here.
CREST = 8.0


class Passes:
    """The responses to each pass of an excitation.

    Args:
        recording: (channels, samples), at the excitation's rate and on its clock.
        excitation: what was played.
        method: of `inverse_spectrum`.

    Attributes:
        direct: the sample of the recording at which the first pass begins in the earliest direct sound; the others
            follow by the excitation's schedule.
        kept: of each played channel, the repeats that were recorded to their end.
        tail: samples recorded after each sweep's end before the next one or the recording's end, direct sounds as
            `direct` has them.

    Raises:
        MismatchError: the excitation is not in the recording, or not from every channel.
    """

    def __init__(self, recording: np.ndarray, excitation: Excitation, method: str = "inversion"):
        self.excitation, self.recorded, self.frames = excitation, *recording.shape
        self.size = scipy.fft.next_fast_len(self.frames + len(excitation.signal), real=True)
        inverse = inverse_spectrum(excitation, self.size, method)
        # Response upon response: that of pass k begins at direct + k period; harmonics come before, modulo the size.
        self._responses = scipy.fft.irfft(scipy.fft.rfft(recording, self.size) * inverse, self.size)
        coarse = self._locate()
        self.kept = self._complete(coarse)
        self.direct = coarse
        self.direct += self._direct()
        last = excitation.starts[-1, self.kept[-1][-1]] - excitation.first
        self.tail = self.frames - self.direct - int(last) - len(excitation.signal)
        if excitation.passes > 1:
            self.tail = min(self.tail, excitation.period - len(excitation.signal))

    @property
    def missing(self) -> int:
        """Passes that the recording has not to their end."""
        return self.excitation.passes - sum(map(len, self.kept))

    @property
    def repeated(self) -> bool:
        """Whether a channel was heard more than once."""
        return max(map(len, self.kept)) > 1

    def each(self, start: int, length: int) -> list[np.ndarray]:
        """A part of the response to each pass.

        Args:
            start: its first sample, counted from the direct sound.
            length: in samples.

        Returns:
            for each played channel, (repeats, recorded channels, length).
        """
        parts = []
        for channel, repeats in enumerate(self.kept):
            begins = self.direct + self.excitation.starts[channel, repeats] - self.excitation.first + start
            parts.append(np.stack([self._part(int(begin), length) for begin in begins]))
        return parts

    def mean(self, start: int, length: int) -> np.ndarray:
        """The same over all repeats: (played channels, recorded channels, length)."""
        return np.stack([part.mean(axis=0) for part in self.each(start, length)])

    def _part(self, begin: int, length: int) -> np.ndarray:
        return np.take(self._responses, np.arange(begin, begin + length), axis=-1, mode="wrap")

    def _locate(self) -> int:
        """The sample about which the first response has most of its energy."""
        energy = np.sum(self._responses**2, axis=0)
        peak, mean = energy.max(), energy.mean()
        if peak < CREST**2 * mean:
            raise MismatchError(
                f"the sweep was not found in the recording: the deconvolved signal's peak is "
                f"{10 * np.log10(peak / mean):.1f} dB above its mean, as noise's is: check that they belong together, "
                "and the level of the recording"
            )
        # Responses before sample 0, of a recorder started late, go first.
        early = self.size - self.frames
        energy = np.concatenate([energy[self.frames :], energy[: self.frames]])
        width = round(WINDOW * self.excitation.samplerate) | 1
        total = np.cumsum(np.concatenate([np.zeros(1), energy]))
        energy = total[width:] - total[:-width]
        score = np.zeros_like(energy)
        period, count = self.excitation.period, self.excitation.passes
        for shift in range(0, min(count * period, len(energy)) if period else 1, max(period, 1)):
            score[: len(score) - shift] += energy[shift:]
        best = int(score.argmax())
        if period:
            best = self._latest(energy, score, best)
        return best + width // 2 - early

    def _latest(self, energy: np.ndarray, score: np.ndarray, best: int) -> int:
        """Of places that differ by periods, the one with a response in each pass, as far as they go.

        A recording that ends early has as many with the first pass put where there is silence.
        """
        period, count = self.excitation.period, self.excitation.passes
        floor = 10 * np.median(energy)

        def heard(place: int) -> int:
            return int(np.count_nonzero(energy[place : place + count * period : period] > floor))

        places = [place for place in (best - period, best, best + period) if 0 <= place < len(score)]
        alike = [place for place in places if score[place] > 0.99 * score[best]]
        return max(alike, key=lambda place: (heard(place), place))

    def _complete(self, first: int) -> list[list[int]]:
        """Of each played channel, the repeats whose excitation was recorded to its end."""
        excitation = self.excitation
        ends = excitation.starts - excitation.first + first + len(excitation.signal)
        # The direct sound comes a little before most of the energy.
        slack = round(WINDOW * excitation.samplerate)
        kept = [[int(i) for i in np.flatnonzero(row <= self.frames + slack)] for row in ends]
        for channel, repeats in enumerate(kept, 1):
            if not repeats:
                raise MismatchError(
                    f"the recording ends {(ends[channel - 1, 0] - self.frames) / excitation.samplerate:.2f} s before "
                    f"the first sweep of channel {channel} of {excitation.channels} does: record to the end"
                )
        return kept

    def _direct(self) -> int:
        """Where the earliest direct sound of all responses is, from where they were found."""
        reach = round(SEARCH * self.excitation.samplerate)
        if self.excitation.period:
            reach = min(reach, self.excitation.period // 4)
        found = np.abs(self.mean(-reach, 2 * reach + 1)).reshape(-1, 2 * reach + 1)
        largest = found.max(axis=1)
        loud = found[largest > largest.max() * 10 ** (LOUD_DB / 20)]
        return min(_first_peak(response) for response in loud) - reach


def _first_peak(magnitude: np.ndarray) -> int:
    # The first quarter comes before any of the response.
    noise = CREST * np.sqrt(np.mean(magnitude[: len(magnitude) // 4] ** 2)) if len(magnitude) >= 4 else 0.0
    largest = magnitude.max()
    least = min(max(largest * 10 ** (DIRECT_DB / 20), noise), largest * 10 ** (NOISY_DIRECT_DB / 20))
    high = np.flatnonzero(magnitude >= least)
    peak = int(high[0])
    while peak + 1 < len(magnitude) and magnitude[peak + 1] > magnitude[peak]:
        peak += 1
    return peak
