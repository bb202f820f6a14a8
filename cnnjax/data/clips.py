"""Clips of moving digits, and what there is to be told of them."""

import dataclasses
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from jaxtyping import Int, UInt8

from cnnjax.data import _drawing, _embedded


DIRECTIONS = {"right": (0, 1), "down": (1, 0), "left": (0, -1), "up": (-1, 0)}


@dataclasses.dataclass(eq=False)
class Clips(tfds.core.BuilderConfig):
    """Grey frames in which all digits drift one way, the label, at their own speeds.

    What leaves on one side enters on the other, and digits start anywhere. So they are
    anywhere in each frame, whichever way they drift: one frame alone tells nothing. As
    a clip that runs backwards is as likely, frames in a random order tell no more than
    the axis: half of the labels, at best.

    Attributes:
      size: rows and columns of a frame.
      sides: the least and the largest side of a digit's square, in pixels.
      counts: the least and the largest number of digits.
      speeds: the least and the largest, in pixels per frame.
      least_seen: of each digit, the share that must be seen in some frame. Clips that
        break this are drawn anew, which would change what one frame tells of a drift.
      num_frames: frames of a clip.
      examples: how many clips each split has.
    """

    size: int = 64
    sides: tuple[int, int] = (14, 26)
    counts: tuple[int, int] = (1, 4)
    speeds: tuple[int, int] = (2, 5)
    least_seen: float = 0.0
    num_frames: int = 8
    examples: tuple[int, int, int] = (1200, 150, 300)

    def features(self) -> dict[str, Any]:
        """Returns what TFDS stores of a clip."""
        frame = tfds.features.Image(shape=(self.size, self.size, 1))
        return {
            "video": tfds.features.Sequence(frame, length=self.num_frames),
            "label": tfds.features.ClassLabel(names=self.classes()),
        }

    def classes(self) -> list[str]:
        """Returns the names of the labels."""
        return list(DIRECTIONS)

    def draw(
        self,
        rng: np.random.Generator,
        digits: UInt8[np.ndarray, "n 8 8"],
        labels: list[int],
    ) -> dict[str, Any]:
        """Draws a clip: its frames and label."""
        count = int(rng.integers(*self.counts, endpoint=True))
        sides = rng.integers(*self.sides, endpoint=True, size=count)
        strokes = [
            _drawing.stroke(digit, int(side))
            for digit, side in zip(rng.choice(digits, count), sides, strict=True)
        ]
        back = _drawing.background(rng, self.size, 1)
        below = back.mean(axis=(0, 1))  # Not of where they start: that would tell.
        inks = [_drawing.colour(rng, below) for _ in strokes]
        label, corners = self.move(rng, sides)
        frames, seen = _drawing.film(back, strokes, inks, corners)
        if (seen < self.least_seen).any():
            return self.draw(rng, digits, labels)
        return {
            "video": [_embedded.png(_drawing.pixels(frame)) for frame in frames],
            "label": label,
        }

    def move(
        self, rng: np.random.Generator, sides: Int[np.ndarray, " k"]
    ) -> tuple[int, Int[np.ndarray, "t k 2"]]:
        """Draws the label, and the digits' first rows and columns in each frame."""
        label = int(rng.integers(len(DIRECTIONS)))
        step = np.array([*DIRECTIONS.values()][label])
        start = rng.integers(self.size, size=(len(sides), 2))
        speeds = rng.integers(*self.speeds, endpoint=True, size=(len(sides), 1))
        times = np.arange(self.num_frames)[:, None, None]
        return label, (start + times * speeds * step) % self.size


@dataclasses.dataclass(eq=False)
class Counts(Clips):
    """Grey frames in which digits bounce off the sides; the label is their number.

    They pass before each other, each at its own speeds down and to the right.
    """

    counts: tuple[int, int] = (1, 5)
    speeds: tuple[int, int] = (1, 4)
    least_seen: float = 0.6

    def classes(self) -> list[str]:
        """Returns the names of the labels."""
        least, most = self.counts
        return [str(count) for count in range(least, most + 1)]

    def move(
        self, rng: np.random.Generator, sides: Int[np.ndarray, " k"]
    ) -> tuple[int, Int[np.ndarray, "t k 2"]]:
        """Draws the label, and the digits' first rows and columns in each frame."""
        shape = (len(sides), 2)
        room = self.size - sides[:, None]
        start = rng.integers(2 * room, size=shape)  # On the way there or back.
        speeds = rng.integers(*self.speeds, endpoint=True, size=shape)
        times = np.arange(self.num_frames)[:, None, None]
        there_and_back = (start + times * speeds) % (2 * room)
        return len(sides) - self.counts[0], room - abs(there_and_back - room)
