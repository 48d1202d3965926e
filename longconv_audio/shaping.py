"""What is done to impulse responses before use: cut, faded, resampled, levelled, aligned, delayed, mixed."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from longconv_audio.errors import MismatchError, OptionError
from longconv_audio.routing import FilterMatrix, Path, dense, fast_length, transform

NORMALISATIONS = ("none", "peak", "l1", "l2", "magnitude")

# The interpolation filter of soxr's VHQ rings for 145 to 155 samples of the lower rate before it falls below
# 1e-12 of its peak, at all ratios from 1/1000 to 1000 (measured). Nothing beyond this margin is audible or
# would be seen in double precision beside taps of 24 bits.
RINGING = 160

# Beyond this ratio of rates one tap becomes a thousand, and the ringing alone fills minutes.
LARGEST_RATIO = 1000

# Up to this length the spectrum's largest bin is searched on a grid 4 times as fine as the taps demand;
# longer filters get twice, since the memory would pass what the convolution itself takes.
FINE_GRID_TAPS = 1 << 18


def trim(taps: np.ndarray, offset: int = 0, length: int | None = None) -> np.ndarray:
    """A part of an impulse response.

    Args:
        taps: shape `(channels, K)`.
        offset: samples to leave out at the start.
        length: samples to keep after that; None keeps all. What lies beyond the end is not padded.

    Returns:
        a view of the taps, shape `(channels, at most length)`.
    """
    if offset < 0 or (length is not None and length < 0):
        raise OptionError(f"offset {offset}, length {length}: expected 0 or more samples")
    return taps[:, offset : None if length is None else offset + length]


def fade_out(taps: np.ndarray, samples: int) -> np.ndarray:
    """Fades the end of an impulse response with half a cosine.

    The weights are `cos^2(pi (j + 1) / (2 (samples + 1)))` for j from 0: neither 1 nor 0 is among them, so
    that no sample is spent on silence.

    Args:
        taps: shape `(channels, K)`.
        samples: length of the fade; one longer than the taps starts before them, keeping its slope.
    """
    if samples < 0:
        raise OptionError(f"fade-out of {samples} samples: expected 0 or more")
    if samples == 0 or taps.shape[-1] == 0:
        return taps
    weights = np.cos(0.5 * np.pi * np.arange(1, samples + 1) / (samples + 1)) ** 2
    count = min(samples, taps.shape[-1])
    faded = np.array(taps, dtype=np.float64)
    faded[:, -count:] *= weights[-count:]
    return faded


def resample(taps: np.ndarray, rate_in: int, rate_out: int) -> tuple[np.ndarray, int]:
    """Brings an impulse response to another sample rate with soxr's VHQ quality.

    The frequency response stays what it was below 0.9 of the lower Nyquist frequency: a filter's gain at 0 Hz
    is the sum of its taps, so the taps are scaled by rate_in / rate_out. Band-limited interpolation rings
    before each tap as well as after; what rings before the first tap is kept, ahead of time zero.

    Args:
        taps: shape `(channels, K)`.
        rate_in: the taps' rate in hertz.
        rate_out: the rate wanted.

    Returns:
        the taps at the new rate, and the index among them of the instant where tap 0 stood (0 when the
        rates are equal).

    Raises:
        OptionError: a rate below 1, or rates further apart than a factor of 1000.
    """
    if rate_in < 1 or rate_out < 1:
        raise OptionError(f"resampling from {rate_in} to {rate_out} Hz: expected rates of 1 Hz or more")
    if rate_in == rate_out or taps.shape[-1] == 0:
        return taps, 0
    if max(rate_in, rate_out) > LARGEST_RATIO * min(rate_in, rate_out):
        raise OptionError(
            f"resampling the IR from {rate_in} to {rate_out} Hz: rates more than a factor of "
            f"{LARGEST_RATIO} apart; check the rate in the IR's header"
        )
    import soxr  # loads a compiled library: only where it is needed

    # Samples at rate_in after which a sample at rate_out falls on the same instant: padding by a multiple of
    # it puts time zero on a whole output sample.
    step = rate_in // math.gcd(rate_in, rate_out)
    ringing_in = math.ceil(RINGING * max(1, rate_in / rate_out))
    front = -(-ringing_in // step) * step
    zero = front * rate_out // rate_in
    origin = math.ceil(RINGING * max(1, rate_out / rate_in))
    end = zero + math.ceil(taps.shape[-1] * rate_out / rate_in) + origin
    # Twice the ringing behind the taps, so that the part kept lies well inside what soxr returns.
    padded = np.zeros(front + taps.shape[-1] + 2 * ringing_in)
    resampled = np.empty((len(taps), end - zero + origin))
    for channel, row in enumerate(taps):
        padded[front : front + len(row)] = row
        resampled[channel] = soxr.resample(padded, rate_in, rate_out, "VHQ")[zero - origin : end]
    resampled *= rate_in / rate_out
    return resampled, origin


def normalisation_gain(matrix: FilterMatrix, kind: str) -> float:
    """The linear gain that levels a matrix of filters; one for all paths, so that their balance stays.

    Args:
        matrix: the filters, at least one of them not silent unless kind is "none".
        kind: "none": 1. "peak": the largest tap becomes 1. "l1": the taps of all paths into one output sum,
            by magnitude, to at most 1, so that input within full scale cannot clip. "l2": the path with the
            most energy gets an energy of 1. "magnitude": the largest gain of any path at any frequency
            becomes 1 (sampled on a grid at least 2 times, for filters up to 262144 taps 4 times as fine as
            the taps).

    Raises:
        OptionError: unknown kind, or every tap is zero.
    """
    if kind not in NORMALISATIONS:
        raise OptionError(f"--normalize {kind}: expected one of {', '.join(NORMALISATIONS)}")
    if kind == "none":
        return 1.0
    matrix = _merged(matrix)
    sizes = {id(path.taps): _size(path.taps, kind) for path in _distinct(matrix)}
    if kind == "l1":
        sums = [0.0] * matrix.outputs
        for path in matrix.paths:
            sums[path.output] += sizes[id(path.taps)]
        size = max(sums, default=0.0)
    else:
        size = max(sizes.values(), default=0.0)
    if size == 0 or not math.isfinite(1 / size):
        raise OptionError(f"normalizing by {kind}: every tap of the IR is 0: use another one, or leave its level")
    return 1 / size


def align_peak(matrix: FilterMatrix) -> FilterMatrix:
    """Sets time zero to the largest tap of all paths, the first of several equal ones.

    The filters do not change, so the timing between the paths stays. Silent filters stay as they are.
    """
    best, origin = 0.0, matrix.origin
    for path in _distinct(matrix):
        if not len(path.taps):
            continue
        magnitudes = np.abs(path.taps)
        index = int(magnitudes.argmax())
        if magnitudes[index] > best or (magnitudes[index] == best > 0 and index < origin):
            best, origin = float(magnitudes[index]), index
    return replace(matrix, origin=origin)


def delay(matrix: FilterMatrix, samples: int) -> FilterMatrix:
    """Delays every path by a whole number of samples: pre-delay, where it comes before `mix`.

    Time zero moves towards the front of the filters as far as it can, and only the rest is padded.

    Args:
        matrix: the filters.
        samples: 0 or more.
    """
    if samples < 0:
        raise OptionError(f"delay of {samples} samples: expected 0 or more")
    padding = max(samples - matrix.origin, 0)
    if padding:
        zeros = np.zeros(padding)
        matrix = transform(matrix, lambda taps: np.concatenate([zeros, taps]))
    return replace(matrix, origin=max(matrix.origin - samples, 0))


def mix(matrix: FilterMatrix, dry: float, wet: float) -> FilterMatrix:
    """Adds the dry signal to the filtered one, within the filters.

    The dry signal is a unit impulse at time zero, so it stays in time with the input in every alignment.

    Args:
        matrix: the filters, already aligned and delayed.
        dry: linear gain of the dry signal.
        wet: linear gain of the filtered signal.

    Raises:
        MismatchError: dry is not 0 and inputs and outputs differ in number.
    """
    if dry == 0:
        return matrix if wet == 1 else transform(matrix, lambda taps: taps * wet)
    if matrix.inputs != matrix.outputs:
        raise MismatchError(
            f"the filters lead from {matrix.inputs} to {matrix.outputs} channels, where the dry signal has "
            "no place: leave out --mix and --dry, or add direct paths to the matrix file"
        )
    origin = matrix.origin
    scaled: dict[int, np.ndarray] = {}
    mixed: dict[int, np.ndarray] = {}
    direct: set[int] = set()
    paths = []
    for path in matrix.paths:
        key = id(path.taps)
        # Of several paths between the same channels only one gets the impulse.
        if path.input == path.output and path.input not in direct:
            direct.add(path.input)
            if key not in mixed:
                mixed[key] = np.zeros(max(len(path.taps), origin + 1))
                np.multiply(path.taps, wet, out=mixed[key][: len(path.taps)])
                mixed[key][origin] += dry
            paths.append(replace(path, taps=mixed[key]))
        else:
            if key not in scaled:
                scaled[key] = path.taps * wet
            paths.append(replace(path, taps=scaled[key]))
    if len(direct) < matrix.inputs:
        impulse = np.zeros(origin + 1)
        impulse[origin] = dry
        paths += [Path(c, c, impulse) for c in range(matrix.inputs) if c not in direct]
    return replace(matrix, paths=tuple(paths))


def _size(taps: np.ndarray, kind: str) -> float:
    if not len(taps):
        return 0.0
    if kind == "peak":
        return float(np.abs(taps).max())
    if kind == "l1":
        return float(np.abs(taps).sum())
    if kind == "l2":
        # By way of the peak: squares of very small or large taps would leave the range of float64.
        peak = float(np.abs(taps).max())
        return peak * float(np.sqrt(np.sum((taps / peak) ** 2))) if peak else 0.0
    grid = (4 if len(taps) <= FINE_GRID_TAPS else 2) * len(taps)
    return float(np.abs(np.fft.rfft(taps, fast_length(grid))).max())


def _distinct(matrix: FilterMatrix) -> list[Path]:
    """The first path of each array of taps."""
    seen: dict[int, Path] = {}
    for path in matrix.paths:
        seen.setdefault(id(path.taps), path)
    return list(seen.values())


def _merged(matrix: FilterMatrix) -> FilterMatrix:
    """The matrix with paths between the same two channels added up."""
    groups: dict[tuple[int, int], list[Path]] = {}
    for path in matrix.paths:
        groups.setdefault((path.output, path.input), []).append(path)
    if len(groups) == len(matrix.paths):
        return matrix
    paths = []
    for (output, input_), group in groups.items():
        if len(group) > 1:
            # A matrix of one channel, whose dense form is the sum.
            alone = FilterMatrix(1, 1, tuple(Path(0, 0, path.taps) for path in group))
            paths.append(Path(output, input_, dense(alone)[0, 0]))
        else:
            paths.append(group[0])
    return replace(matrix, paths=tuple(paths))
