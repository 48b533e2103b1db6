"""Where an exception was raised, in the words of the application's own code: `shop.py:31 in charge`."""

from __future__ import annotations

import sysconfig
import traceback
from pathlib import Path

_OURS = str(Path(__file__).parents[2])
_LIBRARIES = tuple({sysconfig.get_path(kind) for kind in ("stdlib", "platstdlib", "purelib", "platlib")})
LONGEST = 200


def frame_of(error: BaseException) -> str | None:
    """The last frame of the application's code; None if the exception passed through none.

    An application that is installed among the libraries is told by its first frame, the function that was called.
    """
    frames = [
        (frame.f_code.co_filename, line, frame.f_code.co_qualname)
        for frame, line in traceback.walk_tb(error.__traceback__)
        if not frame.f_code.co_filename.startswith((_OURS, "<frozen"))
    ]
    own = [frame for frame in frames if not frame[0].startswith(_LIBRARIES)]
    if not frames:
        return None
    file, line, function = own[-1] if own else frames[0]
    return f"{Path(file).name}:{line} in {function.replace('<locals>.', '')}"[:LONGEST]
