"""Classifiers of clips [n, t, h, w, c], made of any classifier of images.

Where the frames meet is what they differ in: in the first layer (`EarlyFusion`), in the
last (`LateFusion`) or step by step (`SlowFusion`), after Karpathy et al., 2014.
"""

from cnnjax.video._clips import shuffle_frames as shuffle_frames
from cnnjax.video._fusion import EarlyFusion as EarlyFusion
from cnnjax.video._fusion import LateFusion as LateFusion
from cnnjax.video._inflate import inflate as inflate
from cnnjax.video._slow import SlowFusion as SlowFusion
