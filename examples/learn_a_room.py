"""A room's impulse response, two seconds of it, learned from a dry and a wet recording.

A `FilterEstimator` is a convolution whose taps, 96,000 for each ear, are parameters; `fit` makes the dry recording,
sent through it, match the wet one, by gradients through `long_conv`. The hall is `longconv demo`'s, at 48 kHz and in
stereo; its microphones add noise 60 dB below the sound. Three recordings of ten seconds each are tried:

- noise and a sine sweep have energy at every frequency: the impulse response is found to -66 and -58 dB;
- a plucked guitar has little in the treble and none below its lowest string. What the microphones' noise hides there
  cannot be learned: -36 dB. What is learned serves for the same guitar in another key, to -62 dB.

Run it as it stands: python examples/learn_a_room.py [--quick] [-o FOLDER]
That takes 20 seconds of one CPU core. (The figures above are what it printed on an AMD EPYC with torch 2.14.)
FOLDER gets a plot, learn_a_room.png, and the impulse response as room.wav, for `longconv apply`.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from longconv_audio import AudioWriter, long_conv
from longconv_audio.nn.models import FilterEstimator, FilterEstimatorConfig
from longconv_audio.synthesis import hall, plucked_phrase

NOISE_DB = -60.0


def sweep(rate: int, seconds: float) -> torch.Tensor:
    """A sine whose frequency grows exponentially, 20 Hz to half the rate (Farina 2000, AES convention paper 5093)."""
    octaves = np.log(rate / 2 / 20)
    turns = 20 * seconds / octaves * np.expm1(np.arange(round(seconds * rate)) / (seconds * rate) * octaves)
    return torch.from_numpy(np.sin(2 * np.pi * turns)).float()


def guitar(rate: int, seconds: float, tones_up: int = 0) -> torch.Tensor:
    """A phrase of plucked strings: played back faster than it was made, it is in a higher key."""
    made = round(rate * 2 ** (-tones_up / 12))
    return torch.from_numpy(plucked_phrase(made, seconds * rate / made).mean(0)).float()


def decibels(error: torch.Tensor, whole: torch.Tensor) -> float:
    return 10 * torch.log10(error.square().sum() / whole.square().sum()).item()


def recorded(dry: torch.Tensor, room: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """What the microphones hear of `(1, 1, samples)`."""
    wet = long_conv(dry, room)
    noise = torch.randn(wet.shape, generator=generator)
    return wet + noise * (10 ** (NOISE_DB / 20) * wet.square().mean().sqrt())


def draw(path: Path, room: torch.Tensor, learned: dict[str, torch.Tensor], rate: int) -> None:
    """The hall, and what each estimate is wrong by, over time and over frequency."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4.5), layout="constrained")
    over_time, over_frequency = figure.subplots(1, 2)
    curves = {"the hall": room} | {f"error from {name}": ir - room for name, ir in learned.items()}
    window = rate // 50  # 20 ms
    for name, h in curves.items():
        h = h[0].double().numpy()
        power = np.square(h[: len(h) // window * window]).reshape(-1, window).sum(1)
        spectrum = np.square(np.abs(np.fft.rfft(h)))
        width = len(spectrum) // 400
        bands = spectrum[: len(spectrum) // width * width].reshape(-1, width).mean(1)
        over_time.plot(np.arange(len(power)) * window / rate, 10 * np.log10(power + 1e-20), label=name)
        over_frequency.plot(np.linspace(0, rate / 2000, len(bands)), 10 * np.log10(bands + 1e-20), label=name)
    over_time.set(xlabel="seconds", ylabel="dB", title="energy of each 20 ms of the impulse response")
    over_frequency.set(xlabel="kHz", ylabel="dB", title="its power spectrum")
    over_time.legend()
    figure.savefig(path, dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a room of half a second at 16 kHz")
    parser.add_argument("-o", "--output", help="folder for the plot and the impulse response")
    options = parser.parse_args()
    rate, seconds, steps = (16_000, 0.5, 20) if options.quick else (48_000, 2.0, 60)
    generator = torch.Generator().manual_seed(0)

    room = torch.from_numpy(hall(rate, seconds)).float()  # (2, taps)
    sounds = {
        "noise": torch.randn(8 * rate, generator=generator),
        "a sweep": sweep(rate, 8),
        "a guitar": guitar(rate, 8),
    }
    another = guitar(rate, 8, tones_up=5)[None, None]
    learned = {}
    for name, sound in sounds.items():
        dry = torch.nn.functional.pad(sound, (0, 2 * rate))[None, None]  # the recording goes on for the tail
        wet = recorded(dry, room, generator)
        began = time.perf_counter()
        estimator = FilterEstimator(FilterEstimatorConfig(rate, room.shape[1], channels=2))
        errors = estimator.fit(dry, wet, steps=steps, snr_db=-NOISE_DB)
        elapsed = time.perf_counter() - began
        learned[name] = estimator.impulse_response.detach()
        with torch.no_grad():
            difference = estimator(another) - long_conv(another, room)
        print(
            f"from {name}: wet recording matched to {errors[-1]:.0f} dB in {len(errors)} steps and {elapsed:.0f} s; "
            f"impulse response to {decibels(learned[name] - room, room):.0f} dB; "
            f"another recording to {decibels(difference, long_conv(another, room)):.0f} dB"
        )
    if options.output:
        folder = Path(options.output)
        folder.mkdir(parents=True, exist_ok=True)
        draw(folder / "learn_a_room.png", room, learned, rate)
        with AudioWriter(
            str(folder / "room.wav"), samplerate=rate, channels=2, subtype="FLOAT", overwrite=True
        ) as writer:
            writer.write(learned["a sweep"].numpy())


main()
