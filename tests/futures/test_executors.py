"""Executors and pools on threads: order, time limits, cancelling, ends, and initializers that fail."""

from __future__ import annotations

import gc
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Future, wait
from typing import Any

import pytest

from fmi_mpi import MPI, futures
from fmi_mpi.futures import MPICommExecutor, ThreadPoolExecutor, _core, get_comm_workers
from fmi_mpi.futures._base import Task, TaskQueue
from fmi_mpi.futures._workers import Preparation
from fmi_mpi.util import pool


class Gate:
    """Calls that wait until they are let through."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self.entered = threading.Event()

    def __call__(self, value: Any = None) -> Any:
        self.entered.set()
        assert self._open.wait(30)
        return value

    def open(self) -> None:
        self._open.set()


@pytest.fixture
def gate() -> Iterator[Gate]:
    one = Gate()
    yield one
    one.open()


# -- the queue ---------------------------------------------------------------------------------------------------------


def test_queue_is_first_in_first_out() -> None:
    queue = TaskQueue()
    for number in range(3):
        queue.put(Task(Future(), abs, (number,)))
    assert [task.args[0] for task in (queue.pop(), queue.get(), queue.pop()) if task] == [0, 1, 2]
    with pytest.raises(LookupError):
        queue.pop()


def test_closed_queue_lets_every_reader_go() -> None:
    queue = TaskQueue()
    found: list[Any] = []
    readers = [threading.Thread(target=lambda: found.append(queue.get())) for _ in range(3)]
    for reader in readers:
        reader.start()
    task = Task(Future(), abs)
    queue.put(task)
    queue.close()
    for reader in readers:
        reader.join(30)
    assert sorted(found, key=lambda one: one is None) == [task, None, None]
    assert queue.finished


def test_broken_queue_fails_what_is_in_it_and_what_comes() -> None:
    queue = TaskQueue()
    futures_ = [Future[Any]() for _ in range(2)]
    for future in futures_:
        queue.put(Task(future, abs))
    futures_[0].cancel()
    queue.fail("the reason")
    assert futures_[0].cancelled() and isinstance(futures_[1].exception(0), BrokenExecutor)
    with pytest.raises(BrokenExecutor, match="the reason"):
        queue.put(Task(Future(), abs))


# -- executors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunksize", [1, 3, 100])
@pytest.mark.parametrize("buffersize", [None, 1, 4])
def test_map_in_order(chunksize: int, buffersize: int | None) -> None:
    with ThreadPoolExecutor(3) as executor:
        assert list(executor.map(pow, range(20), range(20), chunksize=chunksize, buffersize=buffersize)) == [
            n**n for n in range(20)
        ]
        assert list(executor.starmap(pow, ((n, 2) for n in range(5)), chunksize=chunksize)) == [0, 1, 4, 9, 16]
        assert sorted(executor.map(abs, range(-5, 5), chunksize=chunksize, unordered=True)) == sorted(
            map(abs, range(-5, 5))
        )
        assert list(executor.map(abs, [])) == list(executor.map(abs)) == []


def test_buffersize_bounds_what_is_submitted() -> None:
    taken = []

    def numbers() -> Iterator[int]:
        for number in range(10):
            taken.append(number)
            yield number

    with ThreadPoolExecutor(1) as executor:
        results = executor.map(abs, numbers(), buffersize=3)
        assert taken == [0, 1, 2]
        assert next(results) == 0
        assert taken == [0, 1, 2, 3]
        assert list(results) == list(range(1, 10))


def test_map_out_of_order(gate: Gate) -> None:
    with ThreadPoolExecutor(2) as executor:
        results = executor.map(lambda wait: gate(wait) if wait else wait, [True, False], unordered=True)
        assert next(results) is False
        gate.open()
        assert next(results) is True


@pytest.mark.parametrize("unordered", [False, True])
def test_map_gives_up_in_time_and_cancels(gate: Gate, unordered: bool) -> None:
    with ThreadPoolExecutor(1) as executor:
        results = executor.map(gate, range(3), timeout=0.01, unordered=unordered)
        with pytest.raises(TimeoutError):
            next(results)
        assert not executor._pool.queue or all(task.future.cancelled() for task in executor._pool.queue._tasks)
        gate.open()


@pytest.mark.parametrize(
    ("kwargs", "error"),
    [
        ({"chunksize": 0}, ValueError),
        ({"buffersize": 0}, ValueError),
        ({"buffersize": "1"}, TypeError),
        ({"buffersize": 1, "unordered": True}, ValueError),
        ({"prefetch": 1}, TypeError),
    ],
)
def test_map_refuses(kwargs: dict[str, Any], error: type[Exception]) -> None:
    with ThreadPoolExecutor(1) as executor, pytest.raises(error):
        executor.map(abs, [1], **kwargs)


@pytest.mark.parametrize("kwargs", [{"max_workers": 0}, {"max_workers": -1}, {"max_workers": "x"}])
def test_a_number_of_workers_is_positive(kwargs: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        ThreadPoolExecutor(**kwargs)


def test_an_initializer_can_be_called() -> None:
    with pytest.raises(TypeError):
        ThreadPoolExecutor(initializer=3)  # type: ignore[arg-type]


def test_shutdown_cancels_what_has_not_begun(gate: Gate) -> None:
    executor = ThreadPoolExecutor(1)
    running, waiting = executor.submit(gate, 1), executor.submit(gate, 2)
    assert gate.entered.wait(30)
    executor.shutdown(wait=False, cancel_futures=True)
    assert wait([waiting], 0).not_done == set() and waiting.cancelled() and not running.done()
    for use in (lambda: executor.submit(abs, 1), executor.bootup, lambda: executor.map(abs, [1])):
        with pytest.raises(RuntimeError, match="after shutdown"):
            use()
    gate.open()
    executor.shutdown()
    assert running.result(0) == 1 and executor.num_workers == 0


def test_an_executor_that_is_gone_ends_its_threads(gate: Gate) -> None:
    executor = ThreadPoolExecutor(2)
    future = executor.submit(gate, 5)
    thread = executor._pool.thread
    del executor
    gc.collect()
    gate.open()
    thread.join(30)
    assert not thread.is_alive() and future.result(0) == 5


def test_a_failing_initializer_breaks_the_executor() -> None:
    executor = ThreadPoolExecutor(2, initializer=divmod, initargs=(1, 0))
    with pytest.raises(BrokenExecutor, match="initializer failed"):
        executor.submit(abs, 1).result(30)
    with pytest.raises(BrokenExecutor):
        executor.bootup()
    assert executor.num_workers == 0


def test_results_are_not_kept(gate: Gate) -> None:
    class Big:
        pass

    with ThreadPoolExecutor(1) as executor:
        future = executor.submit(Big)
        seen = pytest.importorskip("weakref").ref(future.result(30))
        del future
        executor.submit(abs, 1).result(30)
        gc.collect()
        assert seen() is None


# -- a communicator's processes ----------------------------------------------------------------------------------------


def test_a_single_process_has_a_thread_for_worker() -> None:
    context = MPICommExecutor(MPI.COMM_SELF)
    for _ in range(2):
        with context as executor:
            assert executor is not None and executor.num_workers == 1
            assert executor.submit(lambda: get_comm_workers() == MPI.COMM_SELF).result(30)
            with pytest.raises(RuntimeError):
                context.__enter__()
    with pytest.raises(RuntimeError):
        get_comm_workers()


@pytest.mark.parametrize("root", [-1, 1])
def test_the_root_is_a_rank(root: int) -> None:
    with pytest.raises(ValueError, match="root"):
        MPICommExecutor(MPI.COMM_SELF, root)


@pytest.mark.parametrize(("text", "expected"), [("1", True), ("Yes", True), ("off", False), ("", False), ("x", False)])
def test_flags_of_the_environment(monkeypatch: pytest.MonkeyPatch, text: str, expected: bool) -> None:
    monkeypatch.setenv("A_FLAG", text)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert _core.flag_option({}, "a", "A_FLAG") is expected
    assert [str(one.message)[:10] for one in caught] == (["A_FLAG='x'"] if text == "x" else [])
    assert _core.flag_option({"a": 1}, "a", "A_FLAG") is True


@pytest.mark.parametrize("service", ["name", ("localhost", 31415)])
def test_workers_of_another_job_are_refused(service: Any) -> None:
    with pytest.raises(NotImplementedError, match="another job"):
        futures.MPIPoolExecutor(service=service).bootup()


def test_options_become_a_preparation() -> None:
    made = Preparation.of({"globals": [("x", 1)], "path": ["p"], "wdir": None, "env": {"E": "1"}, "main": False}, True)
    assert (made.main, made.globals, made.path, made.wdir, made.env) == (None, {"x": 1}, ["p"], None, {"E": "1"})


# -- multiprocessing's interface ---------------------------------------------------------------------------------------


def test_pool_maps() -> None:
    with pool.ThreadPool(3) as workers:
        assert workers.map(abs, range(-50, 0)) == list(range(50, 0, -1))
        assert workers.starmap(pow, [(2, 3), (3, 2)]) == [8, 9]
        assert list(workers.imap(abs, iter([-1, 2]))) == [1, 2]
        assert sorted(workers.istarmap_unordered(pow, [(2, 3), (3, 2)], 2)) == [8, 9]
        assert workers.apply(int, ("11",), {"base": 2}) == 3
        assert workers.map(abs, []) == workers.starmap_async(pow, []).get() == []
    workers.join()


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("items", [0, 1, 5, 16, 17, 100])
def test_pool_makes_four_chunks_a_worker(monkeypatch: pytest.MonkeyPatch, workers: int, items: int) -> None:
    sizes: list[int] = []
    monkeypatch.setattr(pool, "call_each", lambda fn, chunk: sizes.append(len(chunk)) or [fn(*args) for args in chunk])
    with pool.ThreadPool(workers) as threads:
        assert threads.map(abs, iter(range(items))) == list(range(items))
    expected = max(1, -(-items // (4 * workers)))
    assert sum(sizes) == items and all(size <= expected for size in sizes) and len(sizes) == -(-items // expected)


def test_callbacks_come_before_the_result() -> None:
    seen: list[Any] = []
    with pool.ThreadPool(1) as workers:
        good = workers.map_async(int, ["1", "2"], callback=seen.append, error_callback=seen.append)
        good.wait()
        bad = workers.apply_async(int, ("x",), callback=seen.append, error_callback=seen.append)
        bad.wait()
    assert seen[0] == [1, 2] and isinstance(seen[1], ValueError)
    assert good.successful() and not bad.successful()
    with pytest.raises(ValueError):
        bad.get()


def test_terminated_calls_have_no_result(gate: Gate) -> None:
    workers = pool.ThreadPool(1)
    running, waiting = workers.apply_async(gate, (1,)), workers.map_async(gate, [2, 3])
    assert gate.entered.wait(30) and not running.ready()
    with pytest.raises(ValueError, match="not ready"):
        running.successful()
    with pytest.raises(TimeoutError):
        running.get(0)
    workers.terminate()
    gate.open()
    workers.join()
    assert running.get() == 1 and waiting.ready() and not waiting.successful()
    with pytest.raises(TimeoutError):
        waiting.get()


@pytest.mark.parametrize("name", ["maxtasksperchild", "context"])
def test_what_has_no_effect_is_said(name: str) -> None:
    with pytest.warns(UserWarning, match=name):
        pool.ThreadPool(1, **{name: 1})


def test_names() -> None:
    assert futures.CancelledError is CancelledError and set(futures.__all__) <= set(dir(futures))
