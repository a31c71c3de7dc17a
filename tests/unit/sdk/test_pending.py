"""A pending record is a future like any other, whenever one looks at it."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, as_completed, wait
from concurrent.futures import TimeoutError as FutureTimeout

import pytest

from sdk.delivery import Delivered
from sdk.pending import Pending

HERE = Delivered("t", 0, 1, 2)


def pending() -> Pending:
    return Pending("t", None, b"", 0, (), 0)


def later(future: Pending) -> threading.Timer:
    timer = threading.Timer(0.05, future.acknowledge, (0, 1, 2))
    timer.start()
    return timer


def test_a_result_that_nobody_waited_for() -> None:
    future = pending()
    future.acknowledge(0, 1, 2)
    assert (future.done(), future.result(), future.exception(), future.cancelled()) == (True, HERE, None, False)


def test_a_result_that_somebody_waits_for() -> None:
    future = pending()
    with pytest.raises(FutureTimeout):
        future.result(0)
    later(future)
    assert future.result(10) == HERE


def test_an_error() -> None:
    future = pending()
    future.set_exception(ValueError("x"))
    with pytest.raises(ValueError, match="x"):
        future.result(0)


def test_callbacks_before_and_after() -> None:
    future, heard = pending(), list[Future[Delivered]]()
    future.add_done_callback(heard.append)
    future.acknowledge(0, 1, 2)
    future.add_done_callback(heard.append)
    assert heard == [future, future]
    quiet = pending()
    quiet.acknowledge(0, 1, 2)
    quiet.add_done_callback(heard.append)
    assert heard == [future, future, quiet]


def test_wait_and_as_completed() -> None:
    futures = [pending() for _ in range(3)]
    futures[1].acknowledge(0, 1, 2)
    assert wait(futures, return_when=FIRST_COMPLETED).done == {futures[1]}
    timers = [later(futures[0]), later(futures[2])]
    every: list[Future[Delivered]] = [*futures]
    assert set(as_completed(every, timeout=10)) == set(futures)
    for timer in timers:
        timer.join()


def test_it_can_be_awaited_and_cancelling_the_waiter_does_not_cancel_the_record() -> None:
    async def both() -> Delivered:
        future = pending()
        waiter = asyncio.wrap_future(future)
        waiter.cancel()
        await asyncio.sleep(0)
        assert not future.cancelled()
        later(future)
        return await asyncio.wrap_future(future)

    assert asyncio.run(both()) == HERE


def test_it_is_shown_like_any_future() -> None:
    future = pending()
    assert "state=pending" in repr(future)
    future.acknowledge(0, 1, 2)
    assert "returned Delivered" in repr(future)


def test_looking_and_resolving_at_the_same_moment() -> None:
    for _ in range(300):
        future = pending()
        resolver = threading.Thread(target=future.acknowledge, args=(0, 1, 2))
        resolver.start()
        assert future.result(10) == HERE
        resolver.join()


@pytest.fixture
def hurried() -> Iterator[None]:
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("hurried")
def test_who_waits_for_all_while_they_resolve_gets_all() -> None:
    for _ in range(200):
        futures, last = [pending() for _ in range(20)], pending()

        def resolve(futures: list[Pending] = futures) -> None:
            for future in futures:
                future.acknowledge(0, 1, 2)

        resolver = threading.Thread(target=resolve)
        resolver.start()
        every: list[Future[Delivered]] = [*futures, last]
        _, not_done = wait(every, timeout=0.001)
        assert last in not_done
        resolver.join()
        last.acknowledge(0, 1, 2)
        assert wait(every, timeout=10) == (set(every), set())


@pytest.mark.usefixtures("hurried")
def test_a_callback_is_called_once_whenever_it_is_put_on() -> None:
    for _ in range(300):
        future, heard = pending(), list[Future[Delivered]]()
        resolver = threading.Thread(target=future.acknowledge, args=(0, 1, 2))
        resolver.start()
        future.add_done_callback(heard.append)
        resolver.join()
        assert heard == [future]


def test_an_acknowledged_record_leaves_memory() -> None:
    future = Pending("t", b"k", b"v", 1, (("h", b"x"),), 2)
    assert future.item == ("t", b"k", b"v", 1, (("h", b"x"),), 2)
    future.acknowledge(0, 1, 2)
    assert future.item is None
    assert not {b"k", b"v"} & set(vars(future).values())
