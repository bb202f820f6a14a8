"""Linen layers that two or more architectures share, on the operations of `ops`."""

from cnnjax.nn._convolutions import BlurPool as BlurPool
from cnnjax.nn._convolutions import ConvTranspose as ConvTranspose
from cnnjax.nn._convolutions import DeformConv as DeformConv
from cnnjax.nn._convolutions import Shift as Shift
from cnnjax.nn._inverted_residual import InvertedResidual as InvertedResidual
from cnnjax.nn._inverted_residual import round_channels as round_channels
from cnnjax.nn._maxout import Maxout as Maxout
from cnnjax.nn._mlp_conv import MlpConv as MlpConv
from cnnjax.nn._scales import DropPath as DropPath
from cnnjax.nn._scales import LayerScale as LayerScale
from cnnjax.nn._scales import SqueezeExcite as SqueezeExcite
from cnnjax.nn._transformer import Mlp as Mlp
from cnnjax.nn._transformer import SelfAttention as SelfAttention
