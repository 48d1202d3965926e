"""SOFA files to try things on."""

import numpy as np

# Debian's libmysofa brings MIT's measurements (Gardner and Martin 1994).
KEMAR = "/usr/share/libmysofa/MIT_KEMAR_normal_pinna.sofa"
RATE = 48_000
# Seconds that sound takes past a head of 0.0875 m radius, by Woodworth's formula for a far source.
RADIUS, SPEED = 0.0875, 343.0


def sphere(step=15):
    """Azimuths and elevations in degrees, the poles once each."""
    level = [(a, e) for e in range(-75, 90, step) for a in range(0, 360, step)]
    return np.array([*level, (0, -90), (0, 90)], float)


def delays_at(places):
    """(directions, 2 ears) in seconds: smooth over the sphere, the left ear earlier for sources on the left."""
    azimuth, elevation = np.radians(places[:, :2].T)
    lateral = np.arcsin(np.clip(np.cos(elevation) * np.sin(azimuth), -1, 1))
    late = RADIUS / SPEED * (lateral + np.sin(lateral)) / 2
    return 1e-3 + np.stack([-late, late], axis=1)


def pulses(places, taps=128):
    """Impulse responses (directions, 2, taps): smooth pulses at those delays, louder at the nearer ear."""
    n = np.arange(taps)
    at = RATE * delays_at(places)[..., None]
    gain = 1 + 0.5 * np.sin(np.radians(places[:, 0]))[:, None] * np.array([1, -1]) * np.cos(np.radians(places[:, 1:2]))
    return gain[..., None] * np.exp(-(((n - at) / 1.5) ** 2))


def write_sofa(path, irs, positions, *, convention="SimpleFreeFieldHRIR", kind="spherical", delay=None, **attributes):
    """Writes a small SOFA file; positions (directions, 3) in degrees and metres, or metres."""
    import h5py

    with h5py.File(path, "w") as file:
        given = {"Conventions": "SOFA", "SOFAConventions": convention, "DataType": "FIR", "Version": "2.1"} | attributes
        for name, value in given.items():
            if value is not None:
                file.attrs[name] = np.bytes_(value)
        file["Data.IR"] = irs
        file["Data.SamplingRate"] = np.array([float(RATE)])
        file["Data.Delay"] = np.zeros((1, 2)) if delay is None else delay
        file["SourcePosition"] = positions
        file["SourcePosition"].attrs["Type"] = np.bytes_(kind)


def write_sphere(path):
    """Writes measurements all around a head; returns their directions and impulse responses."""
    places = np.concatenate([sphere(), np.full((len(sphere()), 1), 1.5)], axis=1)
    irs = pulses(places)
    write_sofa(path, irs, places)
    return places, irs
