"""Classifiers whose head looks at every place of the last maps."""

from jaxtyping import Array, Float

from cnnjax import ops
from cnnjax.models._classifier import Activation, Classifier, Endpoints, ModuleDef


class MapClassifier(Classifier):
    """A classifier whose logits are the means of maps, one for each class.

    Source: Lin et al., 2013, https://arxiv.org/abs/1312.4400, section 3.2.
    """

    def classify_maps(
        self,
        x: Float[Array, "n h w c"],
        endpoints: Endpoints,
        head: ModuleDef,
        act: Activation = lambda x: x,
        dropout: Activation = lambda x: x,
    ) -> tuple[Array, Endpoints]:
        """Ends a network; `pre_logits` are the means of x, in which no head had a part.

        Args:
          x: maps [n, h, w, c].
          endpoints: what the network has noted so far.
          head: constructor of the last layer, a 1x1 convolution.
          act: applied to its maps before their means are taken.
          dropout: applied before it.

        Returns:
          The logits [n, num_classes] (the means [n, c] of x where num_classes is None)
          and the endpoints.
        """
        features = ops.global_avg_pool(x)
        endpoints = {**endpoints, "pre_logits": features}
        if self.num_classes is None:
            return features, endpoints
        scores = head(self.num_classes, name="head")(dropout(x))
        logits = endpoints["logits"] = ops.global_avg_pool(act(scores))
        return logits, endpoints
