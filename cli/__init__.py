"""The command line: `longconv VERB INPUT... -o OUTPUT`. One module a command; no signal processing in here."""

from __future__ import annotations

import os

from . import interrupts

# NumPy's BLAS starts its threads when it is imported, and lets them spin: a tenth of a second of processor time
# that no command here gets anything for.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import signal
import sys
import warnings
from typing import Annotated

import typer

from longconv_audio import __version__, errors

from .commands import Commands
from .messages import complain, put

interrupts.release()

# What each kind of failure tells the shell.
EXIT_CODES = {
    errors.OptionError: 2,
    errors.UnreadableError: 3,
    errors.MismatchError: 4,
    errors.NonFiniteError: 5,
    errors.ClippedError: 6,
    errors.PartialError: 7,
    errors.UnwritableError: 8,
}
INTERRUPTED, USAGE, FAULT = 130, 2, 1

_ENDINGS = ("SIGINT", "SIGTERM", "SIGHUP")

_UsageError = typer.BadParameter.__base__

app = typer.Typer(
    name="longconv",
    cls=Commands,
    help="Applies long filters - rooms, reverbs, corrections - to audio files and pipes of any length; makes, measures "
    "and mends them, and trains models of them.",
    epilog="Exit codes: 0 done; 1 a fault of longconv; 2 usage; 3 unreadable input; 4 rates or channels do not fit; "
    "5 NaN or infinity; 6 clipped under --clip error; 7 some of several files failed; 8 output cannot be written; "
    "130 interrupted.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        put(f"longconv {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    pass


def main(arguments: list[str] | None = None) -> None:
    """Runs a command and exits: expected failures are one line on standard error and a code of their own."""
    if sys.stderr is None:  # closed by who started us; its number must not become that of the output
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    for name in _ENDINGS:
        if hasattr(signal, name) and signal.getsignal(getattr(signal, name)) is not signal.SIG_IGN:
            signal.signal(getattr(signal, name), _end)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # numpy's words on an overflow, whose outcome is a failure of ours
    try:
        code = _run(sys.argv[1:] if arguments is None else arguments)
        if sys.stdout is not None:
            sys.stdout.flush()  # after the help, too, which no one else does
    except errors.LongconvError as error:
        if not error.said:
            complain(str(error))
        code = next((code for kind, code in EXIT_CODES.items() if isinstance(error, kind)), FAULT)
    except _UsageError as error:
        if message := error.format_message():  # empty where the help was printed instead
            complain(f"{message} (see {error.ctx.command_path if error.ctx else 'longconv'} --help){_hint(error)}")
        code = USAGE
    except OSError as error:
        if error.filename is not None:  # a fault: whoever opens a file words its failure
            raise
        gone = isinstance(error, BrokenPipeError)
        complain(f"standard output: {'the program that reads the pipe has gone' if gone else error.strerror}")
        code = EXIT_CODES[errors.UnwritableError]
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is still in the buffer goes nowhere, silently
    except (KeyboardInterrupt, typer.Abort):
        complain("interrupted")
        code = INTERRUPTED
    except MemoryError:
        complain("out of memory: use a shorter IR, fewer channels or a smaller --block-size")
        code = FAULT
    sys.exit(code)


def _run(arguments: list[str]) -> int:
    # Not by calling the app, which would make codes of its own of Ctrl-C and a broken pipe.
    command = typer.main.get_command(app)
    try:
        with command.make_context("longconv", arguments) as context:
            command.invoke(context)
    except typer.Exit as end:
        return end.exit_code
    return 0


def _hint(error) -> str:
    """What to do where an unknown option may have been meant for a file."""
    name = getattr(error, "option_name", "") if hasattr(error, "possibilities") else ""
    return ": a name that begins with - goes behind --, or as ./-x.wav" if len(name) == 2 else ""


def _end(number, frame) -> None:
    """Unwinds, so that no temporary file is left. A second signal must not disturb that."""
    for name in _ENDINGS:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(128 + number)
