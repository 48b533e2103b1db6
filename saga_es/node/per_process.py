"""A node that each process opens when it first needs one, and closes when it ends."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable
from weakref import WeakSet

from saga_es.node.node import Node
from saga_es.store.process import in_each_child, look_for_fork


class PerProcess:
    """A node for each process that uses it: a server may load an application before it forks, and may have used it.

    Attributes:
        node: The node of this process, opened or not.

    Args:
        make: Makes a node.
    """

    def __init__(self, make: Callable[[], Node]) -> None:
        self._make = make
        self.node = make()
        self._is_open = self._is_inherited = False
        self._opening = threading.Lock()
        _all.add(self)

    def was_forked(self) -> None:
        """This process is a child: it opens a node of its own when it needs one."""
        self._opening = threading.Lock()  # another thread may have held it at the fork
        self._is_inherited, self._is_open = self._is_open, False

    def opened(self) -> Node:
        """The node, open.

        Raises:
            StoreUnavailable: The database did not answer.
        """
        look_for_fork()
        with self._opening:
            if self._is_inherited:
                self.node, self._is_inherited = self._make(), False
            if not self._is_open:
                self.node.open()
                self._is_open = True
                atexit.register(self.node.close)
        return self.node

    @property
    def is_open(self) -> bool:
        """Whether this process has opened its node."""
        look_for_fork()
        return self._is_open

    def close(self) -> None:
        """Close the node if it is open in this process; the next use makes another."""
        look_for_fork()
        with self._opening:
            if self._is_open:
                self.node.close()
                atexit.unregister(self.node.close)
                self.node, self._is_open = self._make(), False


_all: WeakSet[PerProcess] = WeakSet()


def _forget_in_child() -> None:
    for each in list(_all):
        each.was_forked()


in_each_child(_forget_in_child)
