"""Classifiers, one file per architecture; `cnnjax.create` builds them by name."""

from cnnjax.models._classifier import Classifier as Classifier
from cnnjax.models._classifier import Paper as Paper
