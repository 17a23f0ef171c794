"""``fmi-mpi explain``: what a collective would take and cost, over every channel and by every algorithm, best first."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Sequence
from typing import Final

from fmi_mpi.coll.choose import Option, options, predictable
from fmi_mpi.config import parse_size
from fmi_mpi.errors import ConfigError
from fmi_mpi.model.policy import POLICIES, rank
from fmi_mpi.model.price import ARCHITECTURES, prices
from fmi_mpi.model.profile import Channel, Profile, load, nearest

__all__ = ["add_arguments", "run"]

_TIMES: Final = (("s", 1.0), ("ms", 1e-3), ("us", 1e-6))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The collective, its size, and what is asked about it."""
    parser.add_argument("collective", help="such as allreduce, bcast; send for one message")
    parser.add_argument(
        "--size",
        default="8",
        help="bytes, such as 1MiB (default: 8): of the buffer; of one block in gather, scatter, allgather and alltoall; "
        "of the whole vector in reduce_scatter and allgatherv",
    )
    parser.add_argument("--ranks", "-n", type=int, default=2, metavar="N", help="number of ranks (default: 2)")
    parser.add_argument("--memory", default="1769MiB", help="of each function (default: 1769MiB, one core)")
    parser.add_argument("--arch", default="x86", help="of the functions: x86 (default) or arm")
    parser.add_argument("--channels", metavar="NAMES", help="channels to compare (default: all of the profile)")
    parser.add_argument("--profile", default="lambda", help="lambda (default), local, or the path of a profile")
    parser.add_argument("--policy", default="fast", help="what is best: fast (default), cheap or balanced")
    parser.add_argument(
        "--price", action="append", default=[], metavar="CHANNEL=ROW", help="bill a channel by this row"
    )
    parser.add_argument("--punched-gb", type=float, metavar="DOLLARS", help="price of 1e9 bytes between functions")
    parser.add_argument("--json", action="store_true", help="write JSON: seconds, bytes, US dollars")
    parser.add_argument("--plot", metavar="FILE", help="draw time and price to this file, such as out.png")
    parser.add_argument("--over", choices=("size", "ranks"), default="size", help="what --plot varies (default: size)")


class Question:
    """What was asked, checked; raises ConfigError."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.collective = str(given.collective).lower()
        if self.collective not in predictable():
            raise nearest("collective", self.collective, predictable())
        self.size = _size("--size", given.size)
        self.memory = _size("--memory", given.memory)
        self.ranks = int(given.ranks)
        self.arch = str(given.arch)
        self.policy = str(given.policy)
        if self.ranks < 1:
            raise ConfigError(f"--ranks {self.ranks}: expecting 1 or more")
        if not self.memory:
            raise ConfigError("--memory 0: expecting the bytes of a function")
        if self.policy not in POLICIES:
            raise nearest("policy", self.policy, POLICIES)
        if self.arch not in ARCHITECTURES:
            raise nearest("architecture", self.arch, ARCHITECTURES)
        self.profile = load(given.profile)
        self.channels = _channels(self.profile, given.channels, given.price)
        self.prices = prices()
        if given.punched_gb is not None:
            transfer = {**self.prices.transfer, "punched": given.punched_gb / 1e9}
            self.prices = dataclasses.replace(self.prices, transfer=transfer)

    def ways(self, ranks: int, size: int) -> list[Option]:
        """Return all ways, the best first."""
        found = options(
            self.collective,
            ranks,
            size,
            self.channels,
            memory=self.memory,
            arch=self.arch,
            known=self.prices,
        )
        return sorted(found, key=lambda way: rank(self.policy, way.estimate.seconds, way.price.total))


def _size(name: str, text: str) -> int:
    try:
        return parse_size(text)
    except ValueError as error:
        raise ConfigError(f"{name} {text}: {error}") from None


def _channels(profile: Profile, names: str | None, billed: Sequence[str]) -> list[Channel]:
    asked = [name.strip() for name in names.split(",") if name.strip()] if names else list(profile.channels)
    channels = {name: profile.channel(name) for name in asked}
    for entry in billed:
        name, equals, row = entry.partition("=")
        if not equals or name not in channels:
            raise ConfigError(f"--price {entry}: expecting CHANNEL=ROW, the channel one of {', '.join(channels)}")
        prices().store(row)
        channels[name] = dataclasses.replace(channels[name], server=row)
    return list(channels.values())


def run(given: argparse.Namespace) -> int:
    """Print the table, or JSON; draw if asked to."""
    question = Question(given)
    ways = question.ways(question.ranks, question.size)
    if not ways:
        raise ConfigError(f"no channel of profile {question.profile.name!r} runs {question.collective}")
    if given.json:
        print(json.dumps({**_asked(question), "options": [_fields(way) for way in ways]}, indent=1))
    else:
        print("\n".join(_table(question, ways)))
    if given.plot:
        from fmi_mpi.launch.plot import draw

        draw(question, given.over, given.plot)
        if not given.json:
            print(f"drawn to {given.plot}")
    return 0


def _asked(question: Question) -> dict[str, object]:
    return {
        "collective": question.collective,
        "size": question.size,
        "ranks": question.ranks,
        "memory": question.memory,
        "arch": question.arch,
        "policy": question.policy,
        "profile": question.profile.name,
        "prices": question.prices.date,
    }


def _fields(way: Option) -> dict[str, object]:
    estimate, price = way.estimate._asdict(), way.price._asdict()
    return {
        "channel": way.channel,
        "algorithm": way.algorithm,
        **estimate,
        "price": {**price, "total": way.price.total},
    }


def _table(question: Question, ways: Sequence[Option]) -> list[str]:
    guessed = {channel.name for channel in question.channels if channel.estimate}
    lines = [
        f"{question.collective} of {question.size} bytes, {question.ranks} ranks of {question.memory >> 20} MiB "
        f"({question.arch}), profile {question.profile.name}, prices of {question.prices.date}, "
        f"{question.policy} first; US dollars a million calls",
        "",
        f"{'channel':<11}{'algorithm':<20}{'time':>10}{'price':>11}{'compute':>11}{'requests':>11}"
        f"{'transfer':>11}{'server':>11}",
    ]
    for way in ways:
        name = way.channel + ("*" if way.channel in guessed else "")
        money = "".join(f"{_dollars(1e6 * part):>11}" for part in (way.price.total, *way.price))
        lines.append(f"{name:<11}{way.algorithm:<20}{_time(way.estimate.seconds):>10}{money}")
    if guessed:
        lines += ["", "* estimated: nobody has published how fast it is"]
    return lines


def _time(seconds: float) -> str:
    name, unit = next((pair for pair in _TIMES if seconds >= pair[1]), _TIMES[-1])
    return f"{seconds / unit:.3g} {name}" if seconds / unit < 1000 else f"{seconds / unit:.0f} {name}"


def _dollars(amount: float) -> str:
    if not amount:
        return "-"
    return f"{amount:,.0f}" if amount >= 100 else f"{amount:.3g}"
