"""What a function costs, from shapes alone: exact, and nobody's code excluded."""

from cnnjax.cost._analyze import analyze as analyze
from cnnjax.cost._closed_forms import conv_macs as conv_macs
from cnnjax.cost._closed_forms import conv_storage_bits as conv_storage_bits
from cnnjax.cost._closed_forms import deform_conv_macs as deform_conv_macs
from cnnjax.cost._closed_forms import dense_macs as dense_macs
from cnnjax.cost._closed_forms import dense_storage_bits as dense_storage_bits
from cnnjax.cost._closed_forms import (
    depthwise_separable_macs as depthwise_separable_macs,
)
from cnnjax.cost._closed_forms import (
    depthwise_separable_storage_bits as depthwise_separable_storage_bits,
)
from cnnjax.cost._closed_forms import output_size as output_size
from cnnjax.cost._closed_forms import shift_storage_bits as shift_storage_bits
from cnnjax.cost._closed_forms import transposed_conv_macs as transposed_conv_macs
from cnnjax.cost._closed_forms import transposed_output_size as transposed_output_size
from cnnjax.cost._report import CostReport as CostReport
from cnnjax.cost._report import Row as Row
