"""Filters made, measured and edited, beside what scipy and pyroomacoustics have for the same.

    python benchmarks/filters.py [--quick]

Float64, 48 kHz. Seconds, best of the rounds; x peer: the time divided by the peer's. Difference: its energy
from the peer's result in dB of that, where both lie on one grid.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy.signal
from measuring import best, decaying_noise, header, in_turn, installed, snr, table, time_call

from longconv_audio import filters

RATE = 48_000


class Case(NamedTuple):
    """Something to do, and the peer that does it, whose result is the same number for number where `compared`."""

    name: str
    ours: Callable
    peer_name: str = ""
    peer: Callable | None = None
    compared: bool = True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    header("Filters", "longconv-audio", "numpy", "scipy", "pyroomacoustics")
    rows = []
    for case in cases(options.quick):
        calls = {"ours": case.ours} | ({"peer": case.peer} if case.peer else {})
        results = {name: call() for name, call in calls.items()}
        timed = {name: lambda call=call: time_call(call) for name, call in calls.items()}
        costs = {name: best(runs) for name, runs in in_turn(timed, 1 if options.quick else options.rounds, 10).items()}
        peer = costs["peer"].wall if case.peer else None
        rows.append(
            [
                case.name,
                f"{costs['ours'].wall:.3f}",
                f"{costs['ours'].cpu:.3f}",
                case.peer_name or "-",
                f"{peer:.3f}" if peer else "-",
                f"{costs['ours'].wall / peer:.2f}" if peer else "-",
                f"{-snr(results['ours'], results['peer']):.0f}" if peer and case.compared else "-",
            ]
        )
    table(["what", "wall s", "CPU s", "peer", "its wall s", "x peer", "difference dB"], rows, left=1)


def cases(quick: bool) -> list[Case]:
    """All that are timed, smaller where quick."""
    rng = np.random.default_rng(6)
    million, long, seconds = (65_537, 4096, 1.0) if quick else (1_048_577, 200_000, 10.0)
    h = decaying_noise(rng, 1, long)[0].astype(np.float64)
    kaiser = ("kaiser", scipy.signal.kaiser_beta(80.0))
    sweep = filters.Sweep(samplerate=RATE, seconds=seconds, after=1.0)
    room = decaying_noise(rng, 1, RATE // 2)[0].astype(np.float64)
    recording = scipy.signal.oaconvolve(sweep.signal(), room[None], axes=-1)
    stereo = decaying_noise(rng, 2, (1 if quick else 3) * RATE).astype(np.float64)
    found = [
        Case(
            f"lowpass of {million} taps",
            lambda: filters.lowpass(1000, RATE, taps=million, stopband=80),
            "scipy.signal.firwin",
            lambda: scipy.signal.firwin(million, 1000, window=kaiser, fs=RATE),
        ),
        Case(
            f"the same, minimum phase, {million} taps",
            lambda: filters.lowpass(1000, RATE, taps=million, stopband=80, phase="minimum"),
        ),
        Case(
            f"minimum phase of {long} taps",
            lambda: filters.minimum_phase(h),
            "scipy.signal.minimum_phase",
            lambda: scipy.signal.minimum_phase(h, n_fft=8 * long, half=False),
        ),
        Case(
            f"deconvolution of a sweep of {seconds:g} s",
            lambda: filters.deconvolve(recording, RATE, sweep.excitation(), drift="none"),
        ),
        Case("room parameters, 2 channels, octaves", lambda: filters.room_parameters(stereo, RATE)),
        Case("correction, 2 channels", lambda: filters.invert(stereo, RATE)),
        Case("tail extended, 2 channels", lambda: filters.extend(stereo, RATE)),
    ]
    return found + (rooms(quick) if installed("pyroomacoustics") else [])


def rooms(quick: bool) -> list[Case]:
    """Boxes by their images, all walls alike."""
    import pyroomacoustics

    pyroomacoustics.constants.set("rir_hpf_enable", False)
    size, source, receiver, absorption = (6.0, 4.0, 3.0), (1.0, 1.2, 1.5), (4.0, 2.5, 1.7), 0.2

    def theirs(order: int) -> None:
        material = pyroomacoustics.Material(absorption)
        room = pyroomacoustics.ShoeBox(size, fs=RATE, materials=material, max_order=order, air_absorption=False)
        room.set_sound_speed(343.0)
        room.add_source(source)
        room.add_microphone(receiver)
        room.compute_rir()

    def ours(order: int) -> None:
        filters.shoebox(size, source, receiver, RATE, absorption=absorption, max_order=order, highpass=0)

    return [
        Case(f"box, order {order}", lambda n=order: ours(n), "pyroomacoustics", lambda n=order: theirs(n), False)
        for order in ((3,) if quick else (17, 60))
    ]


if __name__ == "__main__":
    main()
