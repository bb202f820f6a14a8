"""From a model and its variables to faster ones that compute the same."""

from cnnjax.inference._export import Exported as Exported
from cnnjax.inference._export import export as export
from cnnjax.inference._export import load as load
from cnnjax.inference._fold import Fate as Fate
from cnnjax.inference._fold import Fates as Fates
from cnnjax.inference._fold import fold_batch_norm as fold_batch_norm
from cnnjax.inference._onnx import export_onnx as export_onnx
from cnnjax.inference._specialise import Specialised as Specialised
from cnnjax.inference._specialise import specialise as specialise
