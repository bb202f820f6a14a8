"""How networks are trained: everything of a run but data, devices and folders.

A `Recipe` is a set of numbers that can be printed, compared and changed; its methods
make of it what `cnnjax.train` and `cnnjax.data` understand. `PUBLISHED` holds those of
papers; what differs from the paper stands beside each, and what differs in all:
biases, norms and tables of positions do not decay (papers until 2016 let them), images
are scaled to [-1, 1], and RandAugment stands in for AutoAugment.
"""

from cnnjax.recipes._published import PUBLISHED as PUBLISHED
from cnnjax.recipes._published import Published as Published
from cnnjax.recipes._recipe import Recipe as Recipe
