"""`longconv ir`: surgery on impulse responses."""

from __future__ import annotations

import typer

from .from_sofa import from_sofa
from .ir_one import minphase, normalize, resample, trim
from .ir_several import combine, join, mix, split
from .ir_tail import extend, fade

app = typer.Typer(
    name="ir",
    help="Cuts, joins, bends and converts impulse responses: audio, .npy, .txt or -. What comes out is what longconv "
    "apply takes, with its gain and latency stated.",
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (trim, fade, extend, normalize, resample, minphase, combine, mix, split, join):
    app.command(no_args_is_help=True)(command)
app.command("from-sofa", no_args_is_help=True)(from_sofa)
