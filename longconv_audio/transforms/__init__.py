"""Transforms of batches of audio, `(batch, channels, samples)`, on the device where the data are: for augmentation.

    augment = Compose([RandomImpulseResponse("rooms/", 16_000, p=0.5), RandomNoise(10, 40), RandomGain(-6, 6)])
    x = augment(x, generator=torch.Generator().manual_seed(0))

A random transform draws for each item of the batch by itself. `generator` makes it repeatable: one for the batch, or a
list with one for each item, which makes what an item becomes independent of its place in a batch. No transform changes
a level unless that is what it is for.
"""

from .impulse_responses import Convolve, RandomImpulseResponse
from .levels import RandomGain, RandomNoise
from .random_transforms import Compose, RandomTransform
from .rooms import SyntheticRooms
from .time_shift import RandomTimeShift

__all__ = [
    "Compose",
    "Convolve",
    "RandomGain",
    "RandomImpulseResponse",
    "RandomNoise",
    "RandomTimeShift",
    "RandomTransform",
    "SyntheticRooms",
]
