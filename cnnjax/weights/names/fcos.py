"""FCOS, as torchvision calls it; normalisations and activations have numbers."""

from cnnjax.weights.names import _pyramid


NAMES = (
    _pyramid.NAMES
    | _pyramid.EXTRA
    | {
        f"{ours}_tower/{layer}_{k}": f"head.{theirs}_head.conv.{3 * k + behind}"
        for ours, theirs in (("class", "classification"), ("box", "regression"))
        for layer, behind in (("Conv", 0), ("Norm", 1))
        for k in range(4)
    }
    | {
        "head": "head.classification_head.cls_logits",
        "box_head": "head.regression_head.bbox_reg",
        "center_head": "head.regression_head.bbox_ctrness",
    }
)
SOURCES = [lambda model: NAMES]
