"""Sample encodings: interleaved bytes of a file on one side, planar floating point on the other.

Full scale is 1.0 in memory and `2^(bits - 1)` levels in an integer file, in both directions, so that an integer
file that is decoded and encoded again comes out bit for bit the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from longconv_audio.errors import OptionError

# Samples converted at a time: the scratch arrays of that size stay in a core's own cache.
_PIECE_SAMPLES = 65536

_WIDTHS = {"PCM_U8": 1, "PCM_S8": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8}
_FLOATS = ("FLOAT", "DOUBLE")


@dataclass(frozen=True)
class SampleFormat:
    """How one sample stands in a file.

    Args:
        subtype: PCM_U8, PCM_S8, PCM_16, PCM_24, PCM_32, FLOAT or DOUBLE (libsndfile's names).
        order: `"<"` for little endian, `">"` for big endian.
    """

    subtype: str
    order: str = "<"

    def __post_init__(self) -> None:
        if self.subtype not in _WIDTHS or self.order not in "<>":
            raise ValueError(f"no sample format {self.subtype!r} of byte order {self.order!r}")

    @property
    def width(self) -> int:
        """Bytes per sample."""
        return _WIDTHS[self.subtype]

    @property
    def bits(self) -> int:
        """Bits per sample."""
        return 8 * self.width

    @property
    def is_float(self) -> bool:
        """Whether the samples are floating point."""
        return self.subtype in _FLOATS


RAW_FORMATS = {"u8": SampleFormat("PCM_U8"), "s8": SampleFormat("PCM_S8")} | {
    f"{name}{end}": SampleFormat(subtype, order)
    for name, subtype in (
        ("s16", "PCM_16"),
        ("s24", "PCM_24"),
        ("s32", "PCM_32"),
        ("f32", "FLOAT"),
        ("f64", "DOUBLE"),
    )
    for end, order in (("le", "<"), ("be", ">"))
}


@dataclass(frozen=True)
class RawLayout:
    """What headerless samples do not say of themselves.

    Args:
        format: a name of `RAW_FORMATS`, such as "f32le".
        samplerate: hertz.
        channels: samples per frame.

    Raises:
        OptionError: an unknown name, or a rate or channel count below 1.
    """

    format: str
    samplerate: int
    channels: int

    def __post_init__(self) -> None:
        if self.format not in RAW_FORMATS:
            raise OptionError(f"raw format {self.format!r} is unknown: pass one of {', '.join(RAW_FORMATS)}")
        if self.samplerate < 1 or self.channels < 1:
            raise OptionError(
                f"raw samples need a rate and channels of 1 or more, not {self.samplerate} Hz and {self.channels}"
            )

    @property
    def encoding(self) -> SampleFormat:
        """The sample format behind the name."""
        return RAW_FORMATS[self.format]


def decode(buffer, fmt: SampleFormat, out: np.ndarray) -> np.ndarray:
    """Decode interleaved samples.

    Args:
        buffer: bytes-like, at least `channels * n * fmt.width` bytes; the rest is ignored.
        fmt: the encoding of the samples.
        out: receives the samples, float32 or float64, shape `(channels, n)`, full scale 1.0.

    Returns:
        `out`.
    """
    channels, frames = out.shape
    if out.size == 0:
        return out
    if fmt.subtype == "PCM_24":
        source = np.frombuffer(buffer, np.uint8, out.size * 3).reshape(frames, channels, 3)
    else:
        source = np.frombuffer(buffer, _dtype(fmt), out.size).reshape(frames, channels)
    piece = max(1, _PIECE_SAMPLES // channels)
    wide = np.zeros((min(piece, frames), channels), "<i4") if fmt.subtype == "PCM_24" else None
    with np.errstate(over="ignore"):
        for start in range(0, frames, piece):
            _decode_piece(source[start : start + piece], fmt, out[:, start : start + piece], wide)
    return out


def encode(x: np.ndarray, fmt: SampleFormat, dither: np.random.Generator | None = None, out=None) -> memoryview:
    """Encode planar samples as interleaved bytes. Integers saturate at full scale.

    Args:
        x: float32 or float64, shape `(channels, n)`, full scale 1.0.
        fmt: the encoding to make.
        dither: None to round, else the source of the dither (see `quantise`). Floating point is never dithered.
        out: a writable buffer to work in, of `channels * n * fmt.width` bytes or more; made anew where None.

    Returns:
        The encoded bytes; a view of `out` where that was given.
    """
    channels, frames = x.shape
    size = x.size * fmt.width
    raw = np.empty(size, np.uint8) if out is None else np.frombuffer(out, np.uint8, size) if size else np.empty(0, "u1")
    if size:
        target = raw.reshape(frames, channels, 3) if fmt.width == 3 else raw.view(_dtype(fmt)).reshape(frames, channels)
        piece = max(1, _PIECE_SAMPLES // channels)
        for start in range(0, frames, piece):
            part, into = x[:, start : start + piece], target[start : start + piece]
            if fmt.is_float:
                with np.errstate(over="ignore"):
                    for channel in range(channels):
                        into[:, channel] = part[channel]
            else:
                _interleave(quantise(part, fmt.bits, dither), fmt, into)
    return memoryview(raw)


def quantise(x: np.ndarray, bits: int, dither: np.random.Generator | None = None) -> np.ndarray:
    """Round samples to integer levels, half to even, saturating. NaN becomes 0.

    With `dither`, triangular noise of two levels peak to peak is added before rounding. The noise is drawn frame
    by frame, so the result does not depend on how a signal is cut into blocks.

    Args:
        x: float32 or float64, shape `(channels, n)`, full scale 1.0.
        bits: 1 to 32; full scale is `2^(bits - 1)` levels.
        dither: None, or a seeded generator (`dither_source`).

    Returns:
        int32, shape `(channels, n)`.
    """
    # float32 holds every level of 24 bits, but neither the top level of 32 nor a fraction of one near 24.
    narrow = x.dtype == np.float32 and bits <= (16 if dither is not None else 24)
    work = np.empty(x.shape, np.float32 if narrow else np.float64)
    with np.errstate(over="ignore"):
        np.multiply(x, 2.0 ** (bits - 1), out=work, dtype=work.dtype)
    if dither is not None:
        noise = dither.random((x.shape[1], x.shape[0], 2), np.float32)
        work += (noise[:, :, 0] - noise[:, :, 1]).T
    np.rint(work, out=work)
    np.clip(work, -(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1, out=work)
    levels = np.empty(x.shape, np.int32)
    try:
        with np.errstate(invalid="raise"):
            np.copyto(levels, work, casting="unsafe")
    except FloatingPointError:
        np.copyto(levels, np.nan_to_num(work, copy=False, nan=0.0), casting="unsafe")
    return levels


def dither_source(seed: int = 0) -> np.random.Generator:
    """The generator that `quantise` and `encode` take: the same noise in every run."""
    return np.random.Generator(np.random.PCG64(seed))


def _dtype(fmt: SampleFormat) -> str:
    """The numpy dtype of one sample, for every width that numpy has."""
    if fmt.is_float:
        return f"{fmt.order}f{fmt.width}"
    return "u1" if fmt.subtype == "PCM_U8" else f"{fmt.order}i{fmt.width}"


def _decode_piece(source: np.ndarray, fmt: SampleFormat, out: np.ndarray, wide: np.ndarray | None) -> None:
    """Decode `(n, channels)` samples, or `(n, channels, 3)` bytes, into `out` `(channels, n)`."""
    bits = fmt.bits
    if wide is not None:
        # The three bytes go to the top of an int32, whose sign is then right without further work.
        wide = wide[: len(source)]
        places = wide.view(np.uint8).reshape(len(source), -1, 4)
        for j in range(3):
            places[:, :, 1 + j] = source[:, :, j if fmt.order == "<" else 2 - j]
        source, bits = wide, 32
    # Channel by channel: over the whole array numpy may walk in an order that costs eight times as much.
    for channel in range(len(out)):
        out[channel] = source[:, channel]
    if fmt.subtype == "PCM_U8":
        np.subtract(out, 128, out=out)
    if not fmt.is_float:
        np.multiply(out, 2.0 ** (1 - bits), out=out)


def _interleave(levels: np.ndarray, fmt: SampleFormat, out: np.ndarray) -> None:
    """Put int32 levels `(channels, n)` into samples `(n, channels)`, or bytes `(n, channels, 3)`."""
    if fmt.subtype == "PCM_U8":
        levels += 128
    if fmt.subtype == "PCM_24":
        places = levels.astype("<i4", copy=False).view(np.uint8).reshape(*levels.shape, 4)
        for channel in range(len(levels)):
            for j in range(3):
                out[:, channel, j if fmt.order == "<" else 2 - j] = places[channel, :, j]
        return
    for channel in range(len(levels)):
        np.copyto(out[:, channel], levels[channel], casting="unsafe")
