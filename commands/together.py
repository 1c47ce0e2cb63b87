"""Several transfers at once, and all of them ended when the command is."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from contextlib import contextmanager
from typing import TypeVar

from argosy.deadline import called_off

Item = TypeVar("Item")
Answer = TypeVar("Answer")


@contextmanager
def together(
    work: Callable[[Item], Answer], items: Sequence[Item], at_once: int
) -> Iterator[Iterator[tuple[Item, Future[Answer]]]]:
    """Do `work` for each item in `at_once` threads; gives each item with its ended future.

    In the order of the items; one alone is done in this thread. Leaving by an exception
    (Ctrl-C is one) calls off what is on its way: the next check of its deadline ends it.
    """
    if len(items) == 1:
        yield iter([(items[0], _done(work, items[0]))])
        return
    off = threading.Event()
    pool = ThreadPoolExecutor(at_once, initializer=called_off.set, initargs=(off,))
    try:
        yield _in_order([(item, pool.submit(work, item)) for item in items])
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)  # first: who is called off begins no other
        off.set()
        raise
    finally:
        pool.shutdown()


def _done(work: Callable[[Item], Answer], item: Item) -> Future[Answer]:
    future: Future[Answer] = Future()
    try:
        future.set_result(work(item))
    except Exception as error:  # as a thread's would be; Ctrl-C goes on
        future.set_exception(error)
    return future


def _in_order(
    begun: Sequence[tuple[Item, Future[Answer]]],
) -> Iterator[tuple[Item, Future[Answer]]]:
    for item, future in begun:
        wait_for([future])
        yield item, future
