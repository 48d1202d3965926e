"""`longconv evaluate`: how good a trained model is."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from .messages import Line, print_json, put, say


class Split(str, Enum):
    all, training, validation, test = "all", "training", "validation", "test"


def evaluate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder that longconv train wrote.")],
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Recordings, as for longconv train.")],
    split: Annotated[
        Split,
        typer.Option(
            help="All of DATA, or a part: as a .csv says in its column split, or as training divided the same DATA."
        ),
    ] = Split.all,
    batch_size: Annotated[int, typer.Option(min=1, help="Clips at a time.")] = 16,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave out files that cannot be read.")] = False,
    json: Annotated[bool, typer.Option("--json", help="The result as JSON on standard output.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="The result alone.")] = False,
) -> None:
    """Evaluates a trained model on recordings: accuracy and confusion matrix, or bits per sample.

    longconv evaluate run words/ --split validation
    """
    from dataclasses import replace

    from longconv_audio.nn.training import DataSettings, evaluation
    from longconv_audio.nn.training.distributed import choose_device
    from longconv_audio.nn.training.runs import data_settings, load_model

    place = choose_device(device)
    model, settings = load_model(run, place), data_settings(run) or DataSettings()
    line = Line("off" if quiet else "auto")
    try:
        clips, notes = evaluation.read_clips(
            data,
            replace(settings, skip_bad=skip_bad),
            rate=model.config.sample_rate,
            classes=getattr(model.config, "classes", ()),
            split=split.value,
            on_file=lambda done, total: line.draw(lambda: f"reading recordings: {done} of {total}"),
        )
        result = evaluation.evaluate(
            model,
            clips,
            batch_size=batch_size,
            device=place,
            on_clips=lambda done, total: line.draw(lambda: f"{done} of {total} clips"),
        )
    finally:
        line.close()
    for note in [] if quiet else notes:
        say(note)
    if json:
        confusion = {"classes": list(result.classes), "confusion": result.confusion} if result.classes else {}
        print_json({"clips": result.clips, **result.figures, **confusion})
        return
    if result.confusion is None:
        put(f"{result.figures['bits_per_sample']:.3f} bits per sample, {result.clips} clips")
        return
    put(_table(result.classes, result.confusion))
    right = sum(row[index] for index, row in enumerate(result.confusion))
    put(
        f"accuracy {100 * result.figures['accuracy']:.1f} % ({right} of {result.clips} clips), "
        f"loss {result.figures['loss']:.4g}"
    )


def _table(classes: tuple[str, ...], confusion: list[list[int]]) -> str:
    """Rows: what a clip is. Columns: what it was taken for."""
    head = "is \\ taken for"
    first = max(len(head), *map(len, classes))
    widths = [max(len(name), *(len(str(row[index])) for row in confusion)) for index, name in enumerate(classes)]
    lines = [[head, *classes, "right"]]
    for index, (name, row) in enumerate(zip(classes, confusion, strict=True)):
        share = f"{100 * row[index] / sum(row):.1f} %" if sum(row) else "-"
        lines.append([name, *map(str, row), share])
    return "\n".join(
        "  ".join([cells[0].ljust(first), *(c.rjust(w) for c, w in zip(cells[1:], [*widths, 7], strict=True))])
        for cells in lines
    )
