"""Music, sample by sample: an autoregressive waveform model trained on three minutes of it.

Plucked strings play broken chords, computed by `longconv_audio.synthesis`; the last 20 s are kept for the test. A
`WaveformModel` learns to tell from all samples so far which of 256 levels (mu-law) the next one has: 3.92 bits per
sample, where a model that only counts levels needs 7.21, and one that counts which level follows which 5.97. Then it
goes on where a second of the test music ends, its state carried from sample to sample, and the samples are written to
a file as they come. After so little training they are notes of these chords, plucked in time, with much noise.

Run it as it stands: python examples/generate.py [--quick] [-o FOLDER]
That takes three and a half minutes of one CPU core. (The figures above are what it printed on an AMD EPYC with torch
2.14.)
FOLDER gets generated.wav, the second of music and what the model makes of it, and the model: `longconv generate FOLDER
-o more.wav` goes on.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from longconv_audio import AudioWriter
from longconv_audio.nn.models import WaveformModel, WaveformModelConfig, mu_law_encode
from longconv_audio.nn.training import TrainingData, TrainingSettings, evaluate, from_torchaudio, train
from longconv_audio.synthesis import pluck

RATE, LEVELS = 8_000, 256
BEAT = 0.2  # seconds from note to note
CHORDS = [(45, 52, 57, 60, 64), (41, 48, 57, 60, 65), (48, 52, 55, 60, 64), (43, 50, 55, 59, 62)]  # MIDI notes


def music(seconds: float, seed: int) -> torch.Tensor:
    """Broken chords on plucked strings, the bass on the first of eight beats, `(samples,)`."""
    rng = np.random.default_rng(seed)
    x = np.zeros(round((seconds + 3) * RATE))
    for beat in range(int(seconds / BEAT)):
        chord, place = CHORDS[beat // 8 % len(CHORDS)], beat % 8
        note = rng.choice(chord) + 12 * (rng.random() < 0.3) if place else chord[0]
        if rng.random() < 0.15:
            continue  # a rest
        string = pluck(440 * 2 ** ((note - 69) / 12), 0.8 if place else 2.0, RATE, rng)
        start = round(beat * BEAT * RATE)
        level = rng.uniform(0.5, 1.0) / np.sqrt(np.mean(string[: RATE // 5] ** 2))
        x[start : start + len(string)] += level * string
    x = x[: round(seconds * RATE)]
    return torch.from_numpy(0.8 * x / np.abs(x).max()).float()


def counted_bits(training: torch.Tensor, test: torch.Tensor) -> tuple[float, float]:
    """Bits per sample of the test's codes, from how often each code came in training, alone and after each other."""
    pairs = torch.zeros(LEVELS, LEVELS, dtype=torch.float64)
    pairs.view(-1).index_add_(0, training[:-1] * LEVELS + training[1:], torch.ones(len(training) - 1).double())
    alone = pairs.sum(0) + 1
    after = pairs + alone / alone.sum()  # what never came after a code counts as often as it comes at all
    bits = [-(table / table.sum(-1, keepdim=True)).log2() for table in (alone, after)]
    return bits[0][test].mean().item(), bits[1][test[:-1], test[1:]].mean().item()


def clips(x: torch.Tensor, seconds: int):
    """Clips of a second from pieces of so many: from longer ones, training cuts others in each epoch."""
    pieces = x.split(seconds * RATE)
    return from_torchaudio([(piece[None], RATE, "music") for piece in pieces], sample_rate=RATE, clip_seconds=1.0)


def say_how_far(record: dict) -> None:
    bits = record["validation_bits_per_sample"]
    print(f"epoch {record['epoch']}: {bits:.2f} bits per sample", end="\r", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a run of seconds, which learns little")
    parser.add_argument("-o", "--output", help="folder for the generated sound and the model")
    options = parser.parse_args()
    torch.manual_seed(0)
    seconds, epochs, new = (200, 24, 3.0) if not options.quick else (30, 1, 0.02)

    x = music(seconds, seed=0)
    training, test = x[: -20 * RATE], x[-20 * RATE :]
    print(f"{len(training) / RATE:.0f} s of music at {RATE} Hz")
    alone, after = counted_bits(mu_law_encode(training), mu_law_encode(test))
    print(f"bits per sample: {alone:.2f} from counting levels, {after:.2f} from counting pairs of them")

    config = WaveformModelConfig(RATE, channels=32, layers=1, layer="s4d", pooling=(4, 4))
    model, began = WaveformModel(config), time.perf_counter()
    settings = TrainingSettings(epochs=epochs, batch_size=4, learning_rate=5e-3, patience=0)
    data = TrainingData(clips(training, 3), clips(test[: 5 * RATE], 1))
    with tempfile.TemporaryDirectory() as run:
        train(model, data, settings, run=run, on_epoch=say_how_far)
    bits = evaluate(model, clips(test, 1)).figures["bits_per_sample"]
    print(f"{bits:.2f} from the model, trained in {time.perf_counter() - began:.0f} s")

    # A prompt goes through in one transform a layer; from there on it is sample by sample, at a cost that the length
    # of what has been does not change.
    prompt, began = test[:RATE], time.perf_counter()
    generator = torch.Generator().manual_seed(0)
    model.eval()
    blocks = model.generate_blocks(round(new * RATE), 80, prompt=prompt, temperature=0.8, generator=generator)
    if options.output:
        model.save_pretrained(options.output)
        target = str(Path(options.output, "generated.wav"))
        with AudioWriter(target, samplerate=RATE, channels=1, subtype="PCM_16", overwrite=True) as writer:
            writer.write(prompt[None].numpy())
            for block in blocks:
                writer.write(block.numpy())
    else:
        loudest = max(block.abs().max().item() for block in blocks)
        print(f"peak {loudest:.2f} (-o FOLDER keeps what is generated)")
    elapsed = time.perf_counter() - began
    print(f"{new * RATE:.0f} samples in {elapsed:.1f} s: {new * RATE / elapsed:.0f} a second")


main()
