"""Operations on arrays, as pure functions: images are NHWC, kernels HWIO."""

from cnnjax.ops._activations import gelu as gelu
from cnnjax.ops._activations import hard_sigmoid as hard_sigmoid
from cnnjax.ops._activations import hard_swish as hard_swish
from cnnjax.ops._activations import relu as relu
from cnnjax.ops._activations import relu6 as relu6
from cnnjax.ops._activations import silu as silu
from cnnjax.ops._activations import softmax as softmax
from cnnjax.ops._conv import conv_general_dilated as conv_general_dilated
from cnnjax.ops._conv2d import conv2d as conv2d
from cnnjax.ops._conv2d import conv_transpose2d as conv_transpose2d
from cnnjax.ops._conv2d import depthwise_conv2d as depthwise_conv2d
from cnnjax.ops._conv2d import depthwise_separable_conv2d as depthwise_separable_conv2d
from cnnjax.ops._conv2d import pointwise_conv2d as pointwise_conv2d
from cnnjax.ops._deform import deform_conv2d as deform_conv2d
from cnnjax.ops._norm import batch_norm as batch_norm
from cnnjax.ops._norm import batch_statistics as batch_statistics
from cnnjax.ops._norm import update_statistics as update_statistics
from cnnjax.ops._pool import adaptive_avg_pool2d as adaptive_avg_pool2d
from cnnjax.ops._pool import avg_pool2d as avg_pool2d
from cnnjax.ops._pool import global_avg_pool as global_avg_pool
from cnnjax.ops._pool import max_pool2d as max_pool2d
from cnnjax.ops._resize import blur_pool as blur_pool
from cnnjax.ops._resize import resize_bilinear as resize_bilinear
from cnnjax.ops._shift import channel_shuffle as channel_shuffle
from cnnjax.ops._shift import grid_displacements as grid_displacements
from cnnjax.ops._shift import shift2d as shift2d
