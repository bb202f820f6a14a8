"""Weights that the world has trained: converted and read."""

from cnnjax.weights._convert import from_torch as from_torch
from cnnjax.weights._convert import shapes_of as shapes_of
from cnnjax.weights._convert import to_torch as to_torch
from cnnjax.weights._files import load as load
from cnnjax.weights._stacking import roll as roll
from cnnjax.weights._stacking import unroll as unroll
