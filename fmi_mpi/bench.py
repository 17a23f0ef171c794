"""``python -m fmi_mpi.bench``: small programs that show that a job works, and how fast.

Rules of this file:
- A command is a function that adds its options to a parser and one that runs them; rank 0 alone reports.
- Times are of one direction of a message, and of all tasks of a round; what is measured first warms up and is dropped.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import statistics
import sys
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import fmi_mpi

__all__ = ["main"]

PROG = "python -m fmi_mpi.bench"


class _Parser(argparse.ArgumentParser):
    """A parser whose messages rank 0 alone prints."""

    def _print_message(self, message: str, file: Any = None) -> None:
        from fmi_mpi import MPI

        if MPI.COMM_WORLD.Get_rank() == 0:
            super()._print_message(message, file)

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """Exit when rank 0 has printed: the first rank that fails ends the others."""
        from fmi_mpi import MPI

        if message:
            self._print_message(message, sys.stderr)
        sys.stderr.flush()
        MPI.COMM_WORLD.Barrier()
        sys.exit(status)


@dataclass
class _Effort:
    """How often a size is measured.

    Attributes:
        above: bytes beyond which this holds.
        skip: first measurements, dropped.
        loop: measurements after them.
    """

    above: int
    skip: int
    loop: int


def _add_effort(parser: argparse.ArgumentParser, normal: _Effort, large: _Effort, huge: _Effort) -> None:
    parser.add_argument("-s", "--skip", type=int, default=normal.skip, help="number of warm-up rounds")
    parser.add_argument("-l", "--loop", type=int, default=normal.loop, help="number of rounds")
    for name, effort in (("large", large), ("huge", huge)):
        parser.add_argument(f"--skip-{name}", type=int, default=effort.skip, help=f"the same for {name} sizes")
        parser.add_argument(f"--loop-{name}", type=int, default=effort.loop)
        parser.add_argument(
            f"--{name}-size", type=int, default=effort.above, help=f"bytes beyond which a size is {name}"
        )
    parser.add_argument("--no-header", action="store_true", help="no lines before the numbers")
    parser.add_argument("--no-stats", action="store_true", help="only size and speed")


def _sizes(options: argparse.Namespace) -> Iterator[tuple[int, int, int]]:
    """Yield (bytes, warm-up rounds, rounds) for all powers of two from the smallest to the largest size."""
    size = 1 << max(0, options.min_size - 1).bit_length()
    while size <= options.max_size:
        if size > options.huge_size:
            yield size, options.skip_huge, options.loop_huge
        elif size > options.large_size:
            yield size, options.skip_large, options.loop_large
        else:
            yield size, options.skip, options.loop
        size <<= 1


def _header(options: argparse.Namespace, title: str, speed: str) -> None:
    if not options.no_header:
        statistic = "" if options.no_stats else " | Time Mean [s] \u00b1 StdDev [s]  Samples"
        print(f"# {title}\n# Size [B]  {speed}{statistic}", flush=True)


def _row(options: argparse.Namespace, size: int, speed: str, times: Sequence[float]) -> None:
    line = f"{size:10d}  {speed}"
    if not options.no_stats:
        deviation = statistics.stdev(times) if len(times) > 1 else 0.0
        line += f" | {statistics.fmean(times):.7e} \u00b1 {deviation:.4e} {len(times):8d}"
    print(line, flush=True)


# -- helloworld --------------------------------------------------------------------------------------------------------


def _helloworld_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-q", "--quiet", action="store_true", help="quiet output")


def _helloworld(options: argparse.Namespace) -> None:
    """Every rank says hello, in order."""
    from fmi_mpi import MPI
    from fmi_mpi.util.sync import Sequential

    comm = MPI.COMM_WORLD
    with Sequential(comm):
        if not options.quiet:
            print(
                f"Hello, World! I am process {comm.Get_rank()} of {comm.Get_size()} on {MPI.Get_processor_name()}.",
                flush=True,
            )


# -- ringtest ----------------------------------------------------------------------------------------------------------


def _ringtest_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-q", "--quiet", action="store_true", help="quiet output")
    parser.add_argument("-n", "--size", type=int, default=1, help="message size in bytes")
    parser.add_argument("-s", "--skip", type=int, default=0, help="number of warm-up rounds")
    parser.add_argument("-l", "--loop", type=int, default=1, help="number of rounds")


def _ringtest(options: argparse.Namespace) -> None:
    """A message goes round all ranks."""
    from fmi_mpi import MPI

    comm = MPI.COMM_WORLD
    rank, size = comm.Get_rank(), comm.Get_size()
    before, after = (rank - 1) % size, (rank + 1) % size
    message, received = bytearray([42]) * options.size, bytearray(options.size)

    def rounds(number: int) -> None:
        for _ in range(number):
            if size == 1:
                comm.Sendrecv(message, rank, 0, received, rank, 0)
            elif rank == 0:
                comm.Send(message, after)
                comm.Recv(received, before)
            else:
                comm.Recv(received, before)
                comm.Send(received, after)
            if received != message:
                sys.exit(f"{PROG}: rank {rank} received something else than was sent")

    rounds(options.skip)
    comm.Barrier()
    start = time.perf_counter()
    rounds(options.loop)
    taken = time.perf_counter() - start
    if rank == 0 and not options.quiet:
        print(f"time for {options.loop} loops = {taken:g} seconds ({size} processes, {options.size} bytes)", flush=True)


# -- pingpong ----------------------------------------------------------------------------------------------------------


def _pingpong_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-q", "--quiet", action="store_true", help="quiet output")
    parser.add_argument("-m", "--min-size", type=int, default=1, help="minimum message size in bytes")
    parser.add_argument("-n", "--max-size", type=int, default=1 << 27, help="maximum message size in bytes")
    parser.add_argument(
        "-a", "--array", choices=["numpy", "cupy", "numba", "none"], default="numpy", help="arrays that hold messages"
    )
    parser.add_argument("-p", "--pickle", action="store_true", help="send and receive pickled objects")
    parser.add_argument("--protocol", type=int, default=None, help="pickle protocol")
    parser.add_argument("-o", "--outband", action="store_true", help="send buffers of objects out of band")
    parser.add_argument("--threshold", type=int, default=None, help="bytes from which buffers go out of band")
    _add_effort(parser, _Effort(0, 100, 10000), _Effort(1 << 14, 10, 1000), _Effort(1 << 20, 1, 10))


def _allocator(kind: str) -> Callable[[int], Any]:
    if kind == "numpy":
        import numpy

        return lambda nbytes: numpy.zeros(nbytes, "B")
    if kind == "none":
        return bytearray
    raise NotImplementedError(f"memory of devices, as {kind} has it, cannot be sent")


def _pingpong(options: argparse.Namespace) -> None:
    """A message goes from rank 0 to 1 and back; a single rank sends it to itself."""
    from fmi_mpi import MPI
    from fmi_mpi.util import pkl5

    allocate = _allocator(options.array)
    objects: MPI.Intracomm = pkl5.Intracomm(MPI.COMM_WORLD) if options.outband else MPI.COMM_WORLD
    tool = pkl5.pickle if options.outband else MPI.pickle
    tool.PROTOCOL = options.protocol
    tool.THRESHOLD = options.threshold if options.outband else 1 << 62
    pickled = options.pickle or options.outband
    report = MPI.COMM_WORLD.Get_rank() == 0 and not options.quiet
    if report:
        _header(options, "MPI PingPong Test", "Bandwidth [MB/s]")
    for size, skip, loop in _sizes(options):
        once = _object_pingpong(objects, allocate(size)) if pickled else _buffer_pingpong(objects, allocate, size)
        MPI.COMM_WORLD.Barrier()
        times = [once() for _ in range(skip + loop)][skip:]
        if report and times:
            _row(options, size, f"{size / statistics.fmean(times) / 1e6:16.2f}", times)
    tool.PROTOCOL = tool.THRESHOLD = None  # the defaults


def _pingpong_once(comm: Any, alone: Callable[[], Any], there: Callable[[], Any], back: Callable[[], Any]) -> float:
    """Have a message go to and fro, or to a single rank itself; return the seconds of one direction."""
    rank = comm.Get_rank()
    start = time.perf_counter()
    if comm.Get_size() == 1:
        alone()
        return time.perf_counter() - start
    if rank == 0:
        there()
    elif rank == 1:
        back()
    return (time.perf_counter() - start) / 2


def _buffer_pingpong(comm: Any, allocate: Callable[[int], Any], size: int) -> Callable[[], float]:
    """Return a function that does it once with buffers."""
    sent, received = allocate(size), allocate(size)

    def alone() -> None:
        comm.Sendrecv(sent, 0, 0, received, 0, 0)

    def there() -> None:
        comm.Send(sent, 1)
        comm.Recv(received, 1)

    def back() -> None:
        comm.Recv(received, 0)
        comm.Send(sent, 0)

    return lambda: _pingpong_once(comm, alone, there, back)


def _object_pingpong(comm: Any, message: Any) -> Callable[[], float]:
    """The same with objects."""

    def alone() -> None:
        comm.sendrecv(message, 0, 0, None, 0, 0)

    def there() -> None:
        comm.send(message, 1)
        comm.recv(None, 1)

    def back() -> None:
        comm.send(comm.recv(None, 0), 0)

    return lambda: _pingpong_once(comm, alone, there, back)


# -- futures -----------------------------------------------------------------------------------------------------------


def _futures_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-q", "--quiet", action="store_true", help="quiet output")
    parser.add_argument(
        "-e", "--executor", choices=["mpi", "process", "thread", "interpreter"], default="mpi", help="kind of executor"
    )
    parser.add_argument("-w", "--num-workers", type=int, default=None, metavar="WORKERS", help="number of workers")
    parser.add_argument("-t", "--num-tasks", type=int, default=50, metavar="TASKS", help="number of tasks per worker")
    parser.add_argument("-m", "--min-size", type=int, default=1, help="minimum size of a task's data in bytes")
    parser.add_argument("-n", "--max-size", type=int, default=1 << 20, help="maximum size of a task's data in bytes")
    parser.add_argument("-a", "--allocator", choices=["numpy", "array", "bytes"], default="numpy", help="kind of data")
    parser.add_argument("-c", "--chunksize", type=int, default=1, help="calls in one task")
    parser.add_argument("-b", "--backoff", type=float, default=0.0, help="longest pause of the executor in seconds")
    parser.add_argument("-o", "--outband", action="store_true", help="send data out of band")
    _add_effort(parser, _Effort(0, 2, 10), _Effort(1 << 16, 1, 5), _Effort(1 << 18, 1, 3))


def _task(data: Any) -> Any:
    return data


def _data(kind: str, nbytes: int) -> Any:
    if kind == "bytes":
        return bytes(nbytes)
    return array("B", bytes(nbytes)) if kind == "array" else _allocator("numpy")(nbytes)


@contextlib.contextmanager
def _executor(options: argparse.Namespace) -> Iterator[tuple[Any, int] | None]:
    """Have an executor and its number of workers; None on ranks that are workers or have nothing to do."""
    from fmi_mpi import MPI
    from fmi_mpi.futures import MPICommExecutor, MPIPoolExecutor

    if options.executor == "mpi":
        settings = {"backoff": options.backoff, "use_pkl5": options.outband}
        if MPI.COMM_WORLD.Get_size() > 1:
            with MPICommExecutor(MPI.COMM_WORLD, **settings) as executor:
                yield None if executor is None else (executor, executor.num_workers)
            return
        with MPIPoolExecutor(options.num_workers, **settings) as executor:
            yield executor, executor.num_workers
        return
    kind = getattr(concurrent.futures, f"{options.executor.title()}PoolExecutor", None)
    if kind is None:
        sys.exit(f"{PROG}: this Python has no executor of kind {options.executor!r}")
    if MPI.COMM_WORLD.Get_rank():
        yield None
        return
    workers = options.num_workers or 1
    with kind(workers) as executor:
        yield executor, workers


def _futures(options: argparse.Namespace) -> None:
    """An executor's workers return the data that they get."""
    with _executor(options) as found:
        if found is None:
            return
        executor, workers = found
        if not options.quiet:
            name = "MPIPool" if options.executor == "mpi" else f"{options.executor.title()}Pool"
            _header(options, f"{name}Executor - {workers} workers, {options.num_tasks} tasks/worker", "Tasks/s")
        tasks = workers * options.num_tasks
        for size, skip, loop in _sizes(options):
            times = []
            for number in range(skip + loop):
                data = [_data(options.allocator, size) for _ in range(tasks)]
                start = time.perf_counter()
                for _ in executor.map(_task, data, chunksize=options.chunksize):
                    pass
                if number >= skip:
                    times.append(time.perf_counter() - start)
            if times and not options.quiet:
                _row(options, size, f"{round(tasks / statistics.fmean(times)):7d}", times)


# -- command line ------------------------------------------------------------------------------------------------------

Setup = Callable[[argparse.ArgumentParser], None]
Run = Callable[[argparse.Namespace], None]
COMMANDS: dict[str, tuple[Setup, Run]] = {
    "helloworld": (_helloworld_options, _helloworld),
    "ringtest": (_ringtest_options, _ringtest),
    "pingpong": (_pingpong_options, _pingpong),
    "futures": (_futures_options, _futures),
}


def main(args: Sequence[str] | None = None) -> None:
    """Run the command that the command line names.

    Args:
        args: by default ``sys.argv[1:]``.
    """
    parser = _Parser(
        prog=PROG,
        usage="%(prog)s [options] <command> [args]",
        epilog=f"commands: {', '.join(COMMANDS)}; '<command> -h' for help on one",
    )
    parser.add_argument("--threads", action="store_true", default=None, help="initialize MPI with thread support")
    parser.add_argument(
        "--no-threads", dest="threads", action="store_false", help="initialize MPI without thread support"
    )
    parser.add_argument("--thread-level", metavar="LEVEL", help="initialize MPI with this level of thread support")
    parser.add_argument("command", metavar="<command>", help="what to run")
    parser.add_argument("args", metavar="[args]", nargs=argparse.REMAINDER, help="its arguments")
    options = parser.parse_args(args)
    if options.threads is not None:
        fmi_mpi.rc.threads = options.threads
    if options.thread_level is not None:
        fmi_mpi.rc.thread_level = options.thread_level
    if options.command not in COMMANDS:
        parser.error(f"unknown command {options.command!r}; the commands are {', '.join(COMMANDS)}")
    setup, run = COMMANDS[options.command]
    command = _Parser(prog=f"{PROG} {options.command}", description=run.__doc__)
    setup(command)
    run(command.parse_args(options.args))


if __name__ == "__main__":
    main()
