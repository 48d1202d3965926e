"""The command line: `longconv VERB INPUT... -o OUTPUT`. One module a command; no signal processing in here."""

from __future__ import annotations

import os

# NumPy's BLAS starts its threads when it is imported, and lets them spin: a tenth of a second of processor time
# that no command here gets anything for.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import signal
import sys
import warnings
from typing import Annotated

import typer

from longconv_audio import __version__, errors

from .apply import apply
from .demo import demo
from .doctor import doctor
from .kernels import kernels
from .messages import complain

# What each kind of failure tells the shell.
EXIT_CODES = {
    errors.OptionError: 2,
    errors.UnreadableError: 3,
    errors.MismatchError: 4,
    errors.NonFiniteError: 5,
    errors.ClippedError: 6,
    errors.UnwritableError: 8,
}
INTERRUPTED, TERMINATED = 130, 143
USAGE, FAULT = 2, 1

_UsageError = typer.BadParameter.__base__

app = typer.Typer(
    name="longconv",
    help="Applies long filters - rooms, reverbs, corrections - to audio files and pipes of any length.",
    epilog="Exit codes: 0 done; 1 a fault of longconv; 2 usage; 3 unreadable input; 4 rates or channels do not fit; "
    "5 NaN or infinity; 6 clipped under --clip error; 8 output cannot be written; 130 interrupted.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(no_args_is_help=True)(apply)
app.command()(demo)
app.command()(kernels)
app.command()(doctor)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"longconv {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    pass


def main(arguments: list[str] | None = None) -> None:
    """Runs a command and exits: expected failures are one line on standard error and a code of their own."""
    signal.signal(signal.SIGTERM, _terminate)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # numpy's words on an overflow, whose outcome is a failure of ours
    try:
        # Not by calling the app, which would make codes of its own of Ctrl-C and a broken pipe.
        command = typer.main.get_command(app)
        with command.make_context("longconv", sys.argv[1:] if arguments is None else arguments) as context:
            command.invoke(context)
        sys.stdout.flush()
        code = 0
    except typer.Exit as end:
        code = end.exit_code
    except errors.LongconvError as error:
        complain(str(error))
        code = next(code for kind, code in EXIT_CODES.items() if isinstance(error, kind))
    except _UsageError as error:
        if message := error.format_message():  # empty where the help was printed instead
            complain(f"{message} (see {error.ctx.command_path if error.ctx else 'longconv'} --help)")
        code = USAGE
    except BrokenPipeError:
        complain("standard output: the program that reads the pipe has gone")
        code = EXIT_CODES[errors.UnwritableError]
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is still in the buffer goes nowhere, silently
    except (KeyboardInterrupt, typer.Abort):
        complain("interrupted")
        code = INTERRUPTED
    except MemoryError:
        complain("out of memory: use a shorter IR, fewer channels or a smaller --block-size")
        code = FAULT
    sys.exit(code)


def _terminate(number, frame) -> None:
    sys.exit(TERMINATED)
