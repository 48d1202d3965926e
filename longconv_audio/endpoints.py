"""Where the samples of a rendering come from and go to: files, pipes, devices; with a header or without."""

from __future__ import annotations

import os

from .audio_io.reader import RawLayout
from .errors import OptionError, UnwritableError
from .render_settings import RenderSettings

_RAW_SUFFIXES = (".raw", ".pcm", ".f32", ".f64", ".s8", ".s16", ".s24", ".s32", ".u8")
# The first bytes of WAV, RF64, W64, FLAC, OGG, AIFF, CAF, AU and MP3 with tags.
_MAGICS = (b"RIFF", b"RF64", b"BW64", b"riff", b"fLaC", b"OggS", b"FORM", b"caff", b".snd", b"ID3")


def check_target(source: str, target: str, overwrite: bool) -> None:
    """Fails early where the output cannot be written."""
    if is_special(target):
        return
    if os.path.isdir(target):
        raise UnwritableError(f"{target}: is a folder; expected the name of a file")
    if os.path.exists(target) and not overwrite:
        same = source != "-" and os.path.exists(source) and os.path.samefile(source, target)
        raise UnwritableError(
            f"{target}: {'is the input itself' if same else 'exists'}: pass -y/--overwrite to replace it"
        )
    folder = os.path.dirname(os.path.abspath(target))
    if not os.path.isdir(folder):
        raise UnwritableError(f"{target}: there is no folder {folder}: make it first")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UnwritableError(f"{target}: cannot be written: permission denied in {folder}")


def raw_input(source: str, settings: RenderSettings) -> RawLayout | None:
    """What headerless samples in the input are; None where it has a header.

    --rate and --channels say of any input that it is raw; --raw-format alone can be meant for the output.
    """
    described = settings.rate is not None or settings.channels is not None
    if not described and (source == "-" or not _is_raw(source)):
        return None
    if _begins_with_header(source):
        if described:
            raise OptionError(f"{source}: has a header that says what its samples are: leave --rate and --channels out")
        return None
    if settings.raw_format is None or settings.rate is None or settings.channels is None:
        raise OptionError(f"{source}: raw samples do not say what they are: pass --raw-format, --rate and --channels")
    return RawLayout(settings.raw_format, settings.rate, settings.channels)


def raw_output(target: str, settings: RenderSettings) -> str | None:
    """The encoding of headerless output; None where it gets a header. --format goes before the name."""
    wanted = settings.format.upper() == "RAW" if settings.format else _is_raw(target)
    if settings.raw_format is None or not wanted:
        return None
    if settings.subtype.lower() != "keep":
        raise OptionError(
            f"--subtype {settings.subtype} stands beside --raw-format {settings.raw_format}, which says it for "
            "raw output: leave --subtype out, or pass --format WAV for output with a header"
        )
    return settings.raw_format


def is_special(target: str) -> bool:
    """Whether this is standard output, a device or a named pipe, which is written into."""
    return target == "-" or (os.path.exists(target) and not os.path.isfile(target) and not os.path.isdir(target))


def _is_raw(name: str) -> bool:
    return name == "-" or os.path.splitext(name)[1].lower() in _RAW_SUFFIXES


def _begins_with_header(source: str) -> bool:
    """Whether a file begins as those do that are no raw samples. A pipe cannot be asked without taking from it."""
    if source == "-" or not os.path.isfile(source):
        return False
    try:
        with open(source, "rb") as file:
            return file.read(4).startswith(_MAGICS)
    except OSError:  # the reader has the words for that
        return False
