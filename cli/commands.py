"""Every command: where it is written, and what the help says of it. A command's module loads when it is called."""

from __future__ import annotations

import importlib
from typing import NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup


class Entry(NamedTuple):
    """A command's place in the help.

    Args:
        line: what it does, in a line.
        bare: whether it does something without any argument, in place of printing its help.
    """

    line: str
    bare: bool = False


APPLY, FILTERS, MODELS, MACHINE = "Apply filters", "Make, measure and mend filters", "Models", "Machine"

# The module has the command's name, with _ for -. It holds a function of that name, or, for a group, `app`.
COMMANDS = {
    APPLY: {
        "apply": Entry("Applies impulse responses to an audio file or pipe."),
        "binaural": Entry("Plays loudspeaker layouts on headphones, through measured ears."),
        "crossfeed": Entry("Brings a part of each channel to the other ear for headphones."),
    },
    FILTERS: {
        "design": Entry("Designs FIR filters: passes, stops, equalisers, delays."),
        "room": Entry("Makes the impulse response of a room."),
        "sweep": Entry("Writes an exponential sine sweep to measure with."),
        "deconvolve": Entry("Makes an impulse response of a recorded sweep."),
        "inspect": Entry("Says what an impulse response or a recording is."),
        "plot": Entry("Draws an impulse response or a recording."),
        "invert": Entry("Makes a correction for a room or a loudspeaker."),
        "ir": Entry("Cuts, joins, bends and converts impulse responses."),
    },
    MODELS: {
        "train": Entry("Trains a model on recordings."),
        "evaluate": Entry("Evaluates a trained model on recordings."),
        "predict": Entry("Says which class recordings are of."),
        "generate": Entry("Generates sound with a trained waveform model."),
    },
    MACHINE: {
        "demo": Entry("Makes a phrase, a hall, the one in the other, and a picture.", bare=True),
        "doctor": Entry("Says what this machine has, and tries each engine.", bare=True),
        "plan": Entry("Says how a long convolution is best done on a GPU."),
        "kernels": Entry("Compiles every GPU kernel, with no GPU, and looks at it.", bare=True),
    },
}


class Commands(TyperGroup):
    """The group of all commands: the help needs a line of each, a call the whole of one."""

    def __init__(self, **attributes):
        super().__init__(**attributes)
        for panel, entries in COMMANDS.items():
            for name, entry in entries.items():
                self.add_command(TyperCommand(name, help=entry.line, rich_help_panel=panel))

    def resolve_command(self, ctx, args):
        name, stub, rest = super().resolve_command(ctx, args)
        return name, load(stub.name), rest


def load(name: str):
    """The command of this name, whole."""
    module = importlib.import_module(f".{name.replace('-', '_')}", __package__)
    if hasattr(module, "app"):
        return typer.main.get_command(module.app)
    entry = next(entries[name] for entries in COMMANDS.values() if name in entries)
    alone = typer.Typer(add_completion=False)
    alone.command(name, no_args_is_help=not entry.bare)(getattr(module, name.replace("-", "_")))
    return typer.main.get_command(alone)
