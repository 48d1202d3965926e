"""Trainable long convolutions: layers, blocks, models and their training. Sequences are `(batch, channels, time)`."""

from . import functional, models
from .bidirectional import Bidirectional
from .blocks import ChannelNorm, FeedForward, ResidualBlock
from .conv1d import LongConv1d
from .depthwise import DepthwiseLongConv
from .fir import FIRFilter
from .hyena import HyenaOperator
from .kernel_layer import KernelLayer
from .online import OnlineConvolution
from .parameter_groups import parameter_groups
from .pooling import DownPool, UNetStage, UpPool
from .s4d import S4D
from .sgconv import SGConv
from .streaming import Streamable, StreamingModel, init_state, map_state, stream

__all__ = [
    "S4D",
    "Bidirectional",
    "ChannelNorm",
    "DepthwiseLongConv",
    "DownPool",
    "FIRFilter",
    "FeedForward",
    "HyenaOperator",
    "KernelLayer",
    "LongConv1d",
    "OnlineConvolution",
    "ResidualBlock",
    "SGConv",
    "Streamable",
    "StreamingModel",
    "UNetStage",
    "UpPool",
    "functional",
    "init_state",
    "map_state",
    "models",
    "parameter_groups",
    "stream",
]
