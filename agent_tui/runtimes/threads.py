"""Run blocking functions in daemon threads, beside the event loop."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
    """Run a function in a daemon thread.

    Unlike a thread of an executor, a daemon thread cannot delay the end of the event loop or the interpreter.
    That matters because reading a file may hang for as long as its file system does.
    """
    future: Future[T] = Future()

    def work() -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(result)

    threading.Thread(target=work, name=getattr(function, "__name__", "work"), daemon=True).start()
    return future


async def off_loop(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a function in a thread, and return its result."""
    return await asyncio.wrap_future(in_thread(function, *args, **kwargs))
