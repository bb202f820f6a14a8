"""Classifiers, one file per architecture; `cnnjax.create` builds them by name."""

from cnnjax.models._backbone import BackboneNetwork as BackboneNetwork
from cnnjax.models._backbone import last_maps as last_maps
from cnnjax.models._backbone import map_at as map_at
from cnnjax.models._classifier import Activation as Activation
from cnnjax.models._classifier import Classifier as Classifier
from cnnjax.models._classifier import Endpoints as Endpoints
from cnnjax.models._classifier import Layers as Layers
from cnnjax.models._classifier import ModuleDef as ModuleDef
from cnnjax.models._classifier import Network as Network
from cnnjax.models._classifier import Paper as Paper
from cnnjax.models._classifier import he_normal as he_normal
