"""What an application wraps around every call: an application context, connections, a tenant, a trace."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, contextmanager
from typing import Any, Generic, TypeVar

from saga_es.core.outcomes import Unavailable
from saga_es.errors import DefinitionError, StepRejected, StepUnavailable
from saga_es.runtime.calls.context import StepContext
from saga_es.runtime.calls.outcomes import kinds_of, text
from saga_es.runtime.calls.port import Call

T = TypeVar("T")

Around = Callable[..., Any]
"""Makes a context manager for one call, from its `StepContext` or from nothing."""


class Wrapping:
    """Context managers around every call: the first is the outermost.

    What a context manager raises before the call means that nothing was called. What it raises after the call is the
    outcome of the call. An error of the call that it does not let through is the outcome all the same.

    Args:
        makers: Each makes the context manager of one call.

    Raises:
        DefinitionError: One of them cannot be called with one argument, or with none.
    """

    def __init__(self, makers: Sequence[Around] = ()) -> None:
        self._makers = [(make, _takes_context(make)) for make in makers]

    def __bool__(self) -> bool:
        return bool(self._makers)

    def call(self, call: Call, act: Callable[[], T]) -> T | Unavailable:
        """Act within the context managers, on this thread."""
        inner: _Inner[T] = _Inner()
        try:
            with ExitStack() as stack:
                for manager in self._managers(call):
                    stack.enter_context(_plain(manager))
                with inner.begun() as results:
                    results.append(act())
        except Exception as error:  # noqa: BLE001 (whatever is raised here is an outcome)
            return inner.not_begun(error)
        return inner.outcome()

    async def await_call(self, call: Call, act: Callable[[], Awaitable[T]]) -> T | Unavailable:
        """Act within the context managers, which may be asynchronous."""
        inner: _Inner[T] = _Inner()
        try:
            async with AsyncExitStack() as stack:
                for manager in self._managers(call):
                    if hasattr(type(manager), "__aenter__"):
                        await stack.enter_async_context(manager)
                    else:
                        stack.enter_context(manager)
                with inner.begun() as results:
                    results.append(await act())
        except Exception as error:  # noqa: BLE001 (whatever is raised here is an outcome)
            return inner.not_begun(error)
        return inner.outcome()

    def _managers(self, call: Call) -> Any:
        context = StepContext(call)
        return (make(context) if takes_context else make() for make, takes_context in self._makers)


class _Inner(Generic[T]):
    """The call inside, and what became of it."""

    def __init__(self) -> None:
        self._has_begun = False
        self._results: list[T] = []
        self._error: BaseException | None = None

    @contextmanager
    def begun(self) -> Iterator[list[T]]:
        """The call is made in this block, which notes what it returns."""
        self._has_begun = True
        try:
            yield self._results
        except BaseException as error:
            self._error = error
            raise

    def outcome(self) -> T:
        """What came out, whatever was made of it further out.

        Raises:
            BaseException: What the call raised.
        """
        if self._error is not None:
            raise self._error
        return self._results[0]

    def not_begun(self, error: Exception) -> Unavailable:
        """The outcome when the call was not made.

        Raises:
            Exception: The error, when it came after the call, or says itself what it means.
        """
        if self._has_begun or isinstance(error, StepRejected | StepUnavailable):
            raise error
        why = f"nothing was called, because what stands around each call failed: {type(error).__name__}: {text(error)}"
        return Unavailable(text(why), kinds=kinds_of(error))


def _plain(manager: Any) -> Any:
    if hasattr(type(manager), "__aenter__") and not hasattr(type(manager), "__enter__"):
        raise TypeError(
            f"{manager!r} is an asynchronous context manager, and this call runs on a thread; write it as a plain one"
        )
    return manager


def _takes_context(make: Around) -> bool:
    try:
        signature = inspect.signature(make)
    except (TypeError, ValueError):
        return True
    for arguments in ((None,), ()):
        try:
            signature.bind(*arguments)
        except TypeError:
            continue
        return bool(arguments)
    raise DefinitionError(f"around: {make!r} must be callable with the call's StepContext, or with nothing")
