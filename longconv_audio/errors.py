"""The expected failures. Each message is one line: the thing, its value, what was expected, what to do."""


class LongconvError(Exception):
    """The base of every failure that a user's data, files or options can cause.

    Attributes:
        said: whether another process of the run says it, so that this one need not.
    """

    said = False


class OptionError(LongconvError, ValueError):
    """An option or argument that makes no sense, alone or with another."""


class UnreadableError(LongconvError):
    """An input that cannot be read: missing, not audio, cut short where that was refused."""


class MismatchError(LongconvError, ValueError):
    """Sample rates or channel counts that do not fit each other."""


class NonFiniteError(LongconvError, ValueError):
    """NaN or infinity among the samples or the taps, or in training's loss."""


class ClippedError(LongconvError):
    """Samples beyond full scale, where that was declared an error."""


class PartialError(LongconvError):
    """Some of several files could not be done; each was named, and the others are done."""


class UnwritableError(LongconvError):
    """An output that cannot be written: it exists, the folder is missing, the disk is full, the pipe is broken."""
