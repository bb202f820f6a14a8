"""How commands end: the exit status, and what is said of a user's mistake."""

import contextlib
import errno
import os
import sys
from collections.abc import Iterator

from cnnjax import errors


# Trouble with the disk, which is the user's to mend.
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS}


@contextlib.contextmanager
def exit_status() -> Iterator[None]:
    """Exits with 130 after Ctrl-C, and with 2 after a mistake of the user's.

    The mistake is printed as one line, without a traceback. With 1, in silence, if who
    reads what is printed has seen enough, as `head` does.
    """
    try:
        yield
        sys.stdout.flush()
    except errors.UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        # Or it is written again at the very end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        if error.errno not in _DISK:
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
