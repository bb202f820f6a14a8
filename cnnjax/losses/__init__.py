"""Losses of images and of their pixels: logits in, one value per example or pixel out.

The caller takes the mean. Losses of pixels keep the shape of the labels, 0 where they
are ignored; losses of regions have one value per image, or one for the batch. Half
precision is computed in single. Labels that are no class raise a ValueError where they
are known; inside `jit`, where they are not, they make the loss NaN.
"""

from cnnjax.losses._named import create as create
from cnnjax.losses._pixels import cross_entropy as cross_entropy
from cnnjax.losses._pixels import sigmoid_focal as sigmoid_focal
from cnnjax.losses._pixels import softmax_focal as softmax_focal
from cnnjax.losses._regions import dice as dice
from cnnjax.losses._regions import jaccard as jaccard
from cnnjax.losses._regions import tversky as tversky
