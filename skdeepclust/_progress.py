"""The progress bar, which is there even where it isn't shown."""

from __future__ import annotations

import os
from threading import RLock

from tqdm import tqdm


class Bar(tqdm):
    """A bar of tqdm's with a lock of this process alone.

    tqdm's own is shared with forked processes, and every new bar takes it: had one of them been
    killed just then, all the others, and their parent, would wait forever.
    """


def _new_lock() -> None:
    Bar.set_lock(RLock())


_new_lock()
if hasattr(os, "register_at_fork"):  # a thread that holds it isn't there in a forked process
    os.register_at_fork(after_in_child=_new_lock)
