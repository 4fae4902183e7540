"""How often Python looks for garbage in cycles.

By default it looks through the young objects after every 700 that stay, and through all once a
quarter is new.  A push to a thousand proxies keeps some ten thousand for a few hundredths of a
second: looking through them takes a tenth of the push, and makes so many of them old that every few
pushes all objects of the mesh are looked through, which takes a third of a second.
"""

import gc
from typing import Final

YOUNG: Final = 20_000
"""Objects, about 2 MB, that stay before the young ones are looked through."""


def collect_seldom() -> None:
    """Look for garbage as seldom as suits a process that pushes to many proxies."""
    gc.set_threshold(YOUNG)
