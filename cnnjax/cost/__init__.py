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
from cnnjax.cost._devices import DEVICES as DEVICES
from cnnjax.cost._devices import Device as Device
from cnnjax.cost._devices import find_device as find_device
from cnnjax.cost._devices import peak_here as peak_here
from cnnjax.cost._receptive_field import ReceptiveField as ReceptiveField
from cnnjax.cost._receptive_field import (
    effective_receptive_field as effective_receptive_field,
)
from cnnjax.cost._receptive_field import plot_receptive_field as plot_receptive_field
from cnnjax.cost._receptive_field import receptive_field as receptive_field
from cnnjax.cost._report import CostReport as CostReport
from cnnjax.cost._report import Row as Row
from cnnjax.cost._report import plot_models as plot_models
from cnnjax.cost._roofline import Roofline as Roofline
from cnnjax.cost._roofline import RooflineRow as RooflineRow
from cnnjax.cost._roofline import roofline as roofline
