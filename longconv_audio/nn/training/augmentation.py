"""The transforms that a run's settings ask for."""

from __future__ import annotations

from longconv_audio.transforms import (
    Compose,
    RandomGain,
    RandomImpulseResponse,
    RandomNoise,
    RandomTimeShift,
    SyntheticRooms,
)

from .settings import AugmentationSettings


def augmentation(settings: AugmentationSettings, rate: int) -> Compose | None:
    """Rooms first, as they are in front of the microphone, then its noise and gain; None where nothing is wanted.

    Args:
        rate: of the clips, in hertz.
    """
    transforms = []
    if settings.shift:
        transforms.append(RandomTimeShift(settings.shift, rate))
    if settings.rooms is not None:
        rooms = SyntheticRooms(rate) if settings.rooms == "synthetic" else settings.rooms
        compensate = not callable(rooms)  # a clip's label belongs to what is heard in it, not to what comes after
        transforms.append(RandomImpulseResponse(rooms, rate, settings.p, compensate_for_propagation_delay=compensate))
    if settings.noise is not None:
        transforms.append(RandomNoise(*settings.noise, p=settings.p))
    if settings.gain is not None:
        transforms.append(RandomGain(*settings.gain))
    return Compose(transforms) if transforms else None
