"""`longconv design`: FIR filters to apply."""

from __future__ import annotations

import typer

from .design_bands import bandpass, bandstop, highpass, lowpass
from .design_responses import delay, eq, hilbert

app = typer.Typer(
    help="Designs FIR filters, from tens of taps to a million, and says what they achieve. Frequencies are in Hz; 1.5k "
    "is 1500.",
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _command in (lowpass, highpass, bandpass, bandstop, eq, delay):
    app.command(no_args_is_help=True)(_command)
app.command()(hilbert)
