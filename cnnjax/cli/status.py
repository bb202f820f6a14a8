"""How commands end: the exit status, and what is said of a user's mistake."""

import contextlib
import errno
import sys
from collections.abc import Iterator

from cnnjax import errors


# Trouble with the disk, which is the user's to mend.
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS}


@contextlib.contextmanager
def exit_status() -> Iterator[None]:
    """Exits with 130 after Ctrl-C, and with 2 after a mistake of the user's.

    The mistake is printed as one line, without a traceback.
    """
    try:
        yield
    except errors.UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if error.errno not in _DISK:
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
