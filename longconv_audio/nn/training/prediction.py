"""A trained classifier on files and pipes: whole, in windows, or block by block as they come."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from longconv_audio.audio_io import AudioReader
from longconv_audio.errors import OptionError, UnreadableError
from longconv_audio.nn.models import Classifier

from .sound import mono_blocks

# Longer recordings go through the model block by block, where it can stream: their activations need not fit.
_WHOLE_SECONDS, _BLOCK_SECONDS = 30.0, 5.0


@dataclass(frozen=True)
class Prediction:
    """What a stretch of sound is taken for.

    Args:
        start, end: in seconds.
        label: the likeliest class.
        probabilities: of all classes.
    """

    start: float
    end: float
    label: str
    probabilities: dict[str, float]

    @property
    def probability(self) -> float:
        """Of the label."""
        return self.probabilities[self.label]


def predict(model: Classifier, source, *, least: float, window: float | None = None) -> Iterator[Prediction]:
    """The class of a recording, or of each window of it.

    Args:
        model: in evaluation.
        source: a file, or "-" for standard input.
        least: seconds; what is shorter is padded with zeros, as clips are in training.
        window: its length in seconds; None: one prediction for the whole. The last window is padded with zeros.

    Raises:
        UnreadableError: it cannot be read.
        NonFiniteError: NaN or infinity in it.
    """
    rate = model.config.sample_rate
    with AudioReader(source) as reader:
        if window is None:
            x = np.concatenate(list(mono_blocks(reader, rate)))
            _expect_samples(len(x), reader)
            yield _prediction(model, _logits(model, _padded(x, least * rate)), 0.0, len(x) / rate)
            return
        count, start = max(round(window * rate), 1), 0
        for x in _windows(mono_blocks(reader, rate), count):
            logits = _logits(model, _padded(x, max(count, least * rate)))
            yield _prediction(model, logits, start / rate, (start + len(x)) / rate)
            start += len(x)
        _expect_samples(start, reader)


@torch.no_grad()
def predict_stream(model: Classifier, source, *, least: float, block: float) -> Iterator[Prediction]:
    """After each block, the class of all that was heard so far, in fixed memory; the last is that of `predict`.

    What ends before `least` gets one more, with the zeros behind it.

    Args:
        model, source, least: as for `predict`.
        block: its length in seconds.

    Raises:
        OptionError: the model cannot stream; why.
        and as `predict`.
    """
    rate, device = model.config.sample_rate, model.head.weight.device
    state, count, heard = begin_stream(model), max(round(block * rate), 1), 0
    with AudioReader(source) as reader:
        # As many frames are read at a time as make a block: from a pipe, no prediction waits for more.
        frames = max(round(block * reader.samplerate), 1)
        for x in _windows(mono_blocks(reader, rate, frames), count):
            heard += len(x)
            logits, state = model.stream(_tensor(x, device), state)
            yield _prediction(model, logits, 0.0, heard / rate)
        _expect_samples(heard, reader)
        missing = round(least * rate) - heard
        if missing > 0:
            logits, _ = model.stream(torch.zeros(1, 1, missing, device=device), state)
            yield _prediction(model, logits, 0.0, heard / rate)


def begin_stream(model: Classifier) -> dict:
    """The state of a model before the first sample.

    Raises:
        OptionError: it cannot stream; why.
    """
    try:
        return model.init_state(1)
    except (ValueError, NotImplementedError) as error:
        raise OptionError(f"--stream: this model cannot: {error}") from None


@torch.no_grad()
def _logits(model: Classifier, x: np.ndarray) -> torch.Tensor:
    rate, device = model.config.sample_rate, model.head.weight.device
    if len(x) <= _WHOLE_SECONDS * rate or getattr(model.config, "bidirectional", False):
        return model(_tensor(x, device))
    state, count = model.init_state(1), round(_BLOCK_SECONDS * rate)
    for start in range(0, len(x), count):
        logits, state = model.stream(_tensor(x[start : start + count], device), state)
    return logits


def _windows(blocks: Iterator[np.ndarray], count: int) -> Iterator[np.ndarray]:
    """The samples again, `count` at a time; the last are what is left."""
    held = np.zeros(0, np.float32)
    for block in blocks:
        held = np.concatenate([held, block])
        while len(held) >= count:
            yield held[:count]
            held = held[count:]
    if len(held):
        yield held


def _prediction(model: Classifier, logits: torch.Tensor, start: float, end: float) -> Prediction:
    shares = torch.softmax(logits[0].double().cpu(), 0).tolist()
    probabilities = dict(zip(model.config.classes, shares, strict=True))
    return Prediction(start, end, max(probabilities, key=probabilities.get), probabilities)


def _padded(x: np.ndarray, least: float) -> np.ndarray:
    return np.pad(x, (0, max(round(least) - len(x), 0)))


def _tensor(x: np.ndarray, device) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(x)).to(device)[None, None]


def _expect_samples(count: int, reader: AudioReader) -> None:
    if not count:
        raise UnreadableError(f"{reader.name}: holds no samples; expected some")
