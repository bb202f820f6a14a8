"""Which class was taken for which, how often: what segmentation is measured by."""

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Integer, PyTree


Numbers = np.ndarray | np.generic


@flax.struct.dataclass
class ConfusionMatrix:
    """The number of pixels (or examples) by their class and the predicted one.

    Integers, so that sums of parts are exact: `a + b` is the metric of both, and
    `jax.lax.psum(matrix, axis_name)` that of all devices. Outside of `jit` the sum is
    taken in int64, which no data set fills; inside, in int32, which a batch of 2^31
    pixels of one class does.

    Attributes:
      counts: [classes, classes], of the class (row) and the predicted one (column).
      outside: how many labels or predictions were no class. With any of them, there are
        no figures: whatever reads one raises a ValueError.
    """

    # But a tree of shapes, shardings or devices' parts has this structure too.
    counts: PyTree
    outside: PyTree

    @classmethod
    def of(
        cls,
        labels: Integer[Array, "..."],
        predictions: Integer[Array, "..."],
        num_classes: int,
        mask: Bool[Array, "..."] | None = None,
        ignore_index: int | None = None,
    ) -> "ConfusionMatrix":
        """Counts pixels, under `jit` too.

        Args:
          labels: classes [n, ...], e.g. [n, h, w].
          predictions: classes of the same shape.
          num_classes: of both.
          mask: which examples count [n], or which pixels [n, ...].
          ignore_index: the label of pixels that do not count; a class or none.

        Raises:
          ValueError: if the shapes do not fit.
        """
        if labels.shape != predictions.shape:
            raise ValueError(
                f"labels of shape {labels.shape} do not fit predictions of shape "
                f"{predictions.shape}"
            )
        labels, predictions = labels.astype(jnp.int32), predictions.astype(jnp.int32)
        counted = jnp.ones(labels.shape, bool)
        if mask is not None:
            if labels.shape[: mask.ndim] != mask.shape:
                raise ValueError(
                    f"a mask of shape {mask.shape} does not fit labels of shape "
                    f"{labels.shape}"
                )
            counted &= jnp.expand_dims(mask, (*range(mask.ndim, labels.ndim),))
        if ignore_index is not None:
            counted &= labels != ignore_index
        inside = counted
        for classes in (labels, predictions):
            inside &= (classes >= 0) & (classes < num_classes)
        # The last place is for what is not in the matrix.
        place = jnp.where(inside, labels * num_classes + predictions, num_classes**2)
        counts = jnp.zeros(num_classes**2 + 1, jnp.int32).at[place.ravel()].add(1)
        return cls(
            counts=counts[:-1].reshape(num_classes, num_classes),
            outside=jnp.sum(counted & ~inside, dtype=jnp.int32),
        )

    def __add__(self, other: "ConfusionMatrix") -> "ConfusionMatrix":
        def add(a, b):
            if isinstance(a, Tracer) or isinstance(b, Tracer):
                return a + b
            return np.asarray(a, np.int64) + np.asarray(b, np.int64)

        return jax.tree.map(add, self, other)

    @property
    def pixel_accuracy(self) -> float:
        """Share of the pixels whose class was predicted; NaN without pixels."""
        hits, labels, _ = self._totals()
        return float(_ratio(hits.sum(), labels.sum()))

    @property
    def iou(self) -> np.ndarray:
        """Intersection over union [classes]; NaN if neither truth nor prediction."""
        hits, labels, predictions = self._totals()
        return _ratio(hits, labels + predictions - hits)

    @property
    def mean_iou(self) -> float:
        """The mean of `iou` over the classes that have one; NaN if none has."""
        iou = self.iou
        return float(_ratio(np.nansum(iou), np.sum(~np.isnan(iou))))

    @property
    def dice(self) -> np.ndarray:
        """`2 I / (P + G)` [classes], the F1 score; NaN if neither truth nor prediction.

        I pixels are of the class and predicted so, P are predicted so, G are of it.
        """
        hits, labels, predictions = self._totals()
        return _ratio(2 * hits, labels + predictions)

    def compute(self) -> float:
        """Returns `mean_iou`, the one number for a log."""
        return self.mean_iou

    def _totals(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns how often each class was right, was there, and was predicted."""
        counts = np.asarray(self.counts, np.int64)
        if self.outside:
            raise ValueError(
                f"{self.outside} pixels have a label or a prediction that is none of "
                f"the {len(counts)} classes; is an ignore_index missing?"
            )
        return np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)


def _ratio(part: Numbers, whole: Numbers) -> np.ndarray:
    """Returns part / whole, NaN where the whole is 0."""
    nan = np.full(np.shape(whole), np.nan)
    return np.divide(part, whole, out=nan, where=np.not_equal(whole, 0))
