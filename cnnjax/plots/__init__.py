"""Pictures, drawn with matplotlib and saved as PNG files."""

from cnnjax.plots._costs import Bubble as Bubble
from cnnjax.plots._costs import bubbles as bubbles
from cnnjax.plots._costs import receptive_field as receptive_field
from cnnjax.plots._costs import roofline as roofline
from cnnjax.plots._costs import scaling as scaling
from cnnjax.plots._costs import stages as stages
from cnnjax.plots._detection import Objects as Objects
from cnnjax.plots._detection import anchors as anchors
from cnnjax.plots._detection import boxes as boxes
from cnnjax.plots._detection import hits_and_misses as hits_and_misses
from cnnjax.plots._detection import precision_recall as precision_recall
from cnnjax.plots._runs import confusion_matrix as confusion_matrix
from cnnjax.plots._runs import learning_curves as learning_curves
from cnnjax.plots._runs import misclassified as misclassified
from cnnjax.plots._runs import predictions as predictions
from cnnjax.plots._segmentation import class_colours as class_colours
from cnnjax.plots._segmentation import comparison as comparison
from cnnjax.plots._segmentation import overlay as overlay
