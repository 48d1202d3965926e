"""`longconv predict`: what recordings are, by a trained classifier."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from longconv_audio.errors import LongconvError, OptionError, PartialError

from .messages import complain, print_json, put

if TYPE_CHECKING:
    from longconv_audio.nn.training.prediction import Prediction


def predict(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder that longconv train wrote.")],
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Recordings, or - for standard input.")],
    window: Annotated[
        str | None, typer.Option(help="Predict each window of this length: 1, 500ms.", show_default="the whole file")
    ] = None,
    stream: Annotated[
        bool, typer.Option("--stream", help="Block by block in fixed memory, a prediction of all so far after each.")
    ] = False,
    block: Annotated[str, typer.Option(help="Length of a block of --stream: 1, 100ms.")] = "1",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "cpu",
    json: Annotated[
        bool, typer.Option("--json", help="All probabilities, as JSON on standard output, at the end.")
    ] = False,
) -> None:
    """Says which class recordings are of.

    A line a file: its name, the label and its probability, between tabs; with
    --window and --stream a line each, which has start and end in seconds
    behind the name.

        longconv predict run a.wav b.flac

        arecord -f S16_LE -r 16000 | longconv predict run - --stream --block 250ms
    """
    if window is not None and stream:
        raise OptionError("--window and --stream: expected one of them")
    if files.count("-") > 1:
        raise OptionError("FILE: - is given twice; standard input can be read once")
    from longconv_audio.duration import Duration
    from longconv_audio.nn.training import prediction
    from longconv_audio.nn.training.distributed import choose_device
    from longconv_audio.nn.training.runs import data_settings, load_model

    model = load_model(run, choose_device(device), "classifier")
    settings, rate = data_settings(run), model.config.sample_rate
    least = settings.clip_seconds if settings else 0.0
    if stream:
        prediction.begin_stream(model)  # where it cannot, no file is opened
        options = {"block": _seconds(Duration.parse(block), rate, "--block")}
    else:
        options = {"window": None if window is None else _seconds(Duration.parse(window), rate, "--window")}
    function = prediction.predict_stream if stream else prediction.predict
    results, failures = [], []
    for name in files:
        made: list[Prediction] = []
        try:
            for one in function(model, name, least=least, **options):
                made.append(one) if json else put(_line(name, one, stream or window is not None))
        except LongconvError as error:
            if len(files) == 1:
                raise
            complain(str(error))
            failures.append({"file": name, "error": str(error)})
        else:
            results.append({"file": name, "predictions": [_values(one) for one in made]})
    if json:
        print_json({"files": results, "failed": failures})
    if failures:
        raise PartialError(f"{len(failures)} of {len(files)} files failed; the others are done")


def _line(name: str, one: Prediction, timed: bool) -> str:
    times = (f"{one.start:.3f}", f"{one.end:.3f}") if timed else ()
    return "\t".join([name, *times, one.label, f"{one.probability:.4f}"])


def _values(one: Prediction) -> dict:
    return {
        "start": one.start,
        "end": one.end,
        "label": one.label,
        "probability": one.probability,
        "probabilities": one.probabilities,
    }


def _seconds(duration, rate: int, name: str) -> float:
    if not duration:
        raise OptionError(f"{name} {duration}: expected a length above 0")
    return float(duration.amount / rate if duration.unit == "samples" else duration.amount)
