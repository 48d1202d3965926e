"""Ten spoken words, told apart from the raw waveform, beside a small CNN on mel spectrograms.

espeak-ng speaks the words in 65 voices with eight English accents, many rates and pitches; rooms and noise are added.
A `Classifier` of long convolutions, which sees nothing but samples, and a CNN of as many parameters on torchaudio's
mel spectrogram learn from 49 of the voices for as many epochs, and are tested on 16 others, never heard in training.

Run it as it stands: python examples/keywords.py [--quick] [-o FOLDER]
FOLDER gets the trained classifier: `longconv predict FOLDER some.wav` says which word it is.

For words of people instead, plug in torchaudio's datasets by one line for each set (they decode with torchcodec):

    training = from_torchaudio(SPEECHCOMMANDS("data", download=True, subset="training"))
"""

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
import torchaudio
from torch import nn

from longconv_audio.nn.models import Classifier, ClassifierConfig
from longconv_audio.nn.training import TrainingData, TrainingSettings, evaluate, from_torchaudio, train
from longconv_audio.transforms import (
    Compose,
    RandomGain,
    RandomImpulseResponse,
    RandomNoise,
    RandomTimeShift,
    SyntheticRooms,
)

RATE, ESPEAK_RATE = 16_000, 22_050
WORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
ACCENTS = ("us", "us-nyc", "gb", "gb-scotland", "gb-x-gbclan", "gb-x-gbcwmd", "gb-x-rp", "029")
TRAINING_VOICES = (
    "adam Alex Alicia Andy antonio aunty belinda benjamin boris caleb david Denis ed f1 f2 f3 Gene grandma grandpa "
    "Henrique Hugo iven iven3 john klatt2 klatt4 Lee linda m1 m2 m3 m4 m8 marcelo Marco Mario max Michael michel "
    "miguel Nguyen pablo paul rob shelby steph Storm travis victor"
)
TEST_VOICES = "Andrea Annie anika Diogo edward f4 f5 Jacky m5 m7 Mike norbert pedro quincy sandro zac"


def spoken(voices: list[str], times: int, seed: int) -> list[tuple[torch.Tensor, int, str]]:
    """Each word from each voice so many times, as torchaudio's datasets have it: (waveform, sample rate, label)."""
    rng = random.Random(seed)
    jobs = [
        (word, f"en-{rng.choice(ACCENTS)}+{voice}", rng.randint(100, 240), rng.randint(10, 90))
        for word in WORDS
        for voice in voices
        for _ in range(times)
    ]
    with ThreadPoolExecutor() as pool:
        return [(clip, RATE, job[0]) for clip, job in zip(pool.map(speak, jobs), jobs, strict=True)]


def speak(job: tuple[str, str, int, int]) -> torch.Tensor:
    """A word in the middle of a second, `(1, samples)`, at -20 dB RMS while it lasts."""
    word, voice, words_per_minute, pitch = job
    command = ["espeak-ng", "-v", voice, "-s", str(words_per_minute), "-p", str(pitch), "-z", "--stdout", word]
    wav = subprocess.run(command, capture_output=True, check=True).stdout
    samples = torch.frombuffer(bytearray(wav[44:]), dtype=torch.int16).float()  # behind the WAV header
    x = torchaudio.functional.resample(samples, ESPEAK_RATE, RATE)[:RATE]
    x = 0.1 * x / x.square().mean().sqrt()
    before = (RATE - len(x)) // 2
    return nn.functional.pad(x, (before, RATE - len(x) - before))[None]


def in_rooms(clips: list, surroundings: Compose, seed: int) -> list:
    """The clips in rooms and noise that stay the same."""
    generator = torch.Generator().manual_seed(seed)
    heard = surroundings(torch.stack([x for x, *_ in clips]), generator)
    return [(x, rate, word) for x, (_, rate, word) in zip(heard, clips, strict=True)]


class MelCNN(nn.Module):
    """The usual: log mel spectrogram, four 3 x 3 convolutions, a mean."""

    def __init__(self, classes: int):
        super().__init__()
        self.mel = torchaudio.transforms.MelSpectrogram(RATE, n_fft=512, hop_length=RATE // 100, n_mels=40)
        layers = []
        for before, after, pool in ((1, 16, 2), (16, 32, 2), (32, 64, 2), (64, 64, 1)):
            convolution = nn.Conv2d(before, after, 3, padding=1)
            layers += [convolution, nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(pool)]
        self.layers, self.head = nn.Sequential(*layers), nn.Linear(64, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.layers((self.mel(x) + 1e-5).log()).mean((2, 3)))

    def save_pretrained(self, folder) -> None:
        torch.save(self.state_dict(), Path(folder, "mel.pt"))


def say_how_far(record: dict) -> None:
    print(f"epoch {record['epoch']}: {record['validation_accuracy']:.1%} right", end="\r", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a run of seconds, which learns little")
    parser.add_argument("-o", "--output", help="folder for the trained classifier")
    options = parser.parse_args()
    if shutil.which("espeak-ng") is None:
        print("espeak-ng, which speaks the words, is not installed: apt install espeak-ng", file=sys.stderr)
        sys.exit(3)
    torch.manual_seed(0)

    began = time.perf_counter()
    voices, strangers, times, epochs = TRAINING_VOICES.split(), TEST_VOICES.split(), 4, 18
    if options.quick:
        voices, strangers, times, epochs = voices[:6], strangers[:2], 1, 2
    surroundings = Compose([RandomImpulseResponse(SyntheticRooms(RATE, 0.2, 0.8), p=0.7), RandomNoise(5, 30)])
    chosen = voices[::8]  # to watch the training by; the test's voices have no say in anything
    training = spoken([voice for voice in voices if voice not in chosen], times, seed=1)
    validation = in_rooms(spoken(chosen, 1, seed=2), surroundings, seed=2)
    test = in_rooms(spoken(strangers, 2, seed=3), surroundings, seed=3)
    print(
        f"{len(training)} words from {len(voices) - len(chosen)} voices to train with, {len(test)} from others to test"
    )
    data = TrainingData(from_torchaudio(training, classes=WORDS), from_torchaudio(validation, classes=WORDS))
    print(f"made in {time.perf_counter() - began:.0f} s")

    config = ClassifierConfig(WORDS, RATE, channels=48, layer="s4d", pooling=(16, 4, 2), dropout=0.0)
    augment = Compose([RandomTimeShift(0.2, RATE), *surroundings, RandomGain(-12, 12)])
    with tempfile.TemporaryDirectory() as folder:
        for name, model, rate in (
            ("long convolutions on samples", Classifier(config), 1e-2),
            ("CNN on a mel spectrogram", MelCNN(len(WORDS)), 3e-3),
        ):
            began = time.perf_counter()
            settings = TrainingSettings(epochs=epochs, batch_size=32, learning_rate=rate, patience=0)
            run = Path(folder, type(model).__name__)
            train(model, data, settings, run=run, augment=augment, on_epoch=say_how_far)
            elapsed = time.perf_counter() - began
            accuracy = evaluate(model, from_torchaudio(test, classes=WORDS)).figures["accuracy"]
            size = sum(p.numel() for p in model.parameters())
            print(f"{name}, {size} parameters: {accuracy:.1%} right on new voices, trained in {elapsed:.0f} s")
            if options.output and isinstance(model, Classifier):
                model.save_pretrained(options.output)


main()
