"""`longconv generate`: new sound, by a trained waveform model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from longconv_audio.errors import OptionError

from .messages import Progress, say

# Samples between two writes.
_BLOCK = 1024


def generate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder that longconv train --model waveform wrote.")],
    output: Annotated[
        str, typer.Option("--output", "-o", help="Audio file, or - for standard output.", show_default=False)
    ] = "",
    seconds: Annotated[str, typer.Option(help="How much: 5, 500ms, 1:30, 4800s for samples.")] = "5",
    temperature: Annotated[
        float, typer.Option(help="Below 1: likelier samples; 0: the likeliest; above 1: less likely ones.")
    ] = 1.0,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Of the random numbers.")] = 0,
    prompt: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Sound to continue, which is not written.", show_default="silence"),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "cpu",
    overwrite: Annotated[bool, typer.Option("--overwrite", "-y", help="Replace an output that exists.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Nothing but failures.")] = False,
) -> None:
    """Generates sound sample by sample with a trained waveform model, and writes it as it comes.

    longconv generate run -o new.wav --seconds 10 --temperature 0.9
    """
    if not output:
        raise OptionError("no output was given: pass -o FILE, or -o - for standard output")
    from longconv_audio.duration import Duration

    duration = Duration.parse(seconds)
    if not temperature >= 0:
        raise OptionError(f"--temperature {temperature:g}: expected 0 or more")
    if not duration:
        raise OptionError(f"--seconds {seconds}: expected a length above 0")
    import torch

    from longconv_audio.audio_io import AudioWriter
    from longconv_audio.nn.training.distributed import choose_device
    from longconv_audio.nn.training.runs import load_model
    from longconv_audio.nn.training.sound import read_mono

    model = load_model(run, choose_device(device), "waveform")
    rate = model.config.sample_rate
    samples = duration.samples(rate)
    heard = None if prompt is None else torch.from_numpy(read_mono(prompt, rate)[0])
    line = Progress(samples, rate, "off" if quiet else "auto")
    options = {"samplerate": rate, "channels": 1, "frames": samples, "overwrite": overwrite, "subtype": "PCM_16"}
    try:
        with AudioWriter(output, **options) as writer:
            blocks = model.generate_blocks(
                samples,
                _BLOCK,
                prompt=heard,
                temperature=temperature,
                generator=torch.Generator().manual_seed(seed),
            )
            for block in blocks:
                writer.write(block.cpu().numpy())
                line(writer.frames_written)
    finally:
        line.close()
    if not quiet:
        say(f"{writer.name}: {samples} samples, {samples / rate:g} s at {rate} Hz")
