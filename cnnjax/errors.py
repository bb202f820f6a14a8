"""Errors that are the user's to mend. The command line prints them as one line."""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """A mistake in what was asked for; the message is one line that says the mend."""


def unknown(kind: str, name: str, known: Iterable[str]) -> UserError:
    """Returns the error for a name that does not exist, with the near ones.

    Args:
      kind: what the name should have been, e.g. "model".
      name: what was asked for.
      known: every name that exists.
    """
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if close:
        return UserError(f"unknown {kind} {name!r}; did you mean {', '.join(close)}?")
    few = ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")
    return UserError(f"unknown {kind} {name!r}; there are {few}")
