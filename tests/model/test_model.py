"""The model against known figures: prices, FMI's published times, and what must hold of any prediction."""

from __future__ import annotations

import math

import pytest

from fmi_mpi.coll.choose import Advisor, choose, options, predictable
from fmi_mpi.coll.cost import Frames
from fmi_mpi.coll.registry import ALGORITHMS
from fmi_mpi.coll.select import Selector
from fmi_mpi.errors import ConfigError
from fmi_mpi.model import fit
from fmi_mpi.model.policy import POLICIES
from fmi_mpi.model.predict import Estimate, objects_of, of_messages
from fmi_mpi.model.price import prices
from fmi_mpi.model.profile import SHIPPED, Channel, Crowd, load, parse, text_of
from fmi_mpi.runtime.policy import best_for

LAMBDA = load("lambda")
GIB = 1 << 30


@pytest.mark.parametrize(
    ("store", "dollars"),
    [("s3", 5.4e-6), ("s3_express", 1.164e-6), ("dynamodb", 7.5e-7), ("valkey_serverless", 4.6e-9)],
)
def test_price_of_one_kilobyte(store: str, dollars: float) -> None:
    estimate = Estimate(0.0, 1, 1000, 1, 1000)
    price = prices().of(estimate, 2, Channel("x", 0.0, 1.0, store=True, server=store))
    assert price.total == pytest.approx(dollars, rel=0.001)


def test_all_functions_are_billed_for_their_memory_and_seconds() -> None:
    price = prices().of(Estimate(1e-3), 1, LAMBDA.channel("tcp"), GIB, "arm")
    assert price.compute == pytest.approx(1.33334e-8)
    assert prices().of(Estimate(1e-3), 64, LAMBDA.channel("tcp"), 2 * GIB, "arm").compute == pytest.approx(
        128 * price.compute
    )


@pytest.mark.parametrize(("nbytes", "units"), [(1, 1), (1024, 1), (1025, 2), (409_600, 400)])
def test_dynamodb_bills_begun_kilobytes(nbytes: int, units: int) -> None:
    price = prices().of(Estimate(0.0, 3, 3 * nbytes), 2, LAMBDA.channel("dynamodb"))
    assert price.requests == pytest.approx(3 * units * 6.25e-7)


def test_servers_are_billed_pro_rata() -> None:
    assert prices().of(Estimate(3600.0), 2, LAMBDA.channel("redis")).server == pytest.approx(0.219)


def published() -> list[tuple[str, str, int, float, str]]:
    """FMI's medians (ICS 2023): collective, channel, functions, seconds, and the algorithm that it runs."""
    direct = {
        ("allreduce", "recursive_doubling"): (10, 11),
        ("bcast", "binomial"): (3, 5),
        ("reduce", "binomial"): (6.5, 6.5),
        ("gather", "binomial"): (5, 12),
        ("scatter", "binomial"): (4, 8),
        ("scan", "recursive_doubling"): (5, 8),
    }
    rows = [
        (name, "tcp", size, ms / 1e3, algorithm)
        for (name, algorithm), times in direct.items()
        for size, ms in zip((32, 64), times)
    ]
    return [*rows, ("allreduce", "redis", 32, 0.052, "reduce_bcast"), ("bcast", "s3", 32, 0.096, "via_store")]


@pytest.mark.parametrize(("collective", "channel", "size", "seconds", "algorithm"), published())
def test_published_times_are_within_2(collective: str, channel: str, size: int, seconds: float, algorithm: str) -> None:
    (way,) = options(collective, size, 8, [LAMBDA.channel(channel)], rows=[algorithm])
    assert seconds / 2 <= way.estimate.seconds <= 2 * seconds


@pytest.mark.parametrize(("nbytes", "seconds"), [(1, 0.34e-3), (10**6, 0.34e-3 + 1 / 400), (4 * 10**5, 1.34e-3)])
def test_one_direct_message(nbytes: int, seconds: float) -> None:
    (way,) = options("send", 2, nbytes, [LAMBDA.channel("tcp")])
    assert way.estimate.seconds == pytest.approx(seconds, rel=0.001)
    assert way.estimate.moved == nbytes


@pytest.mark.parametrize("collective", predictable())
@pytest.mark.parametrize("channel", LAMBDA.channels)
@pytest.mark.parametrize("size", [1, 2, 3, 8, 33])
def test_predictions_are_finite_and_do_not_fall_with_size(collective: str, channel: str, size: int) -> None:
    before: dict[str, float] = {}
    even = 8 * size * (1 << size.bit_length())  # formulas are exact where blocks are
    for nbytes in (0, even, even << 4, even << 8, even << 12):
        for way in options(collective, size, nbytes, [LAMBDA.channel(channel)], memory=GIB):
            assert math.isfinite(way.estimate.seconds)
            assert way.price.total >= 0
            assert way.estimate.seconds >= 0.999 * before.get(way.algorithm, 0.0)
            before[way.algorithm] = way.estimate.seconds


def test_more_memory_is_faster_and_a_crowded_server_slower() -> None:
    channel = LAMBDA.channel("tcp")
    rates = [channel.bandwidth_with(memory << 20) for memory in (128, 256, 512, 700, 1024, 2048, 10240)]
    assert rates == sorted(rates)
    assert rates[0] == rates[1] == 165e6
    redis = LAMBDA.channel("redis")
    times = [of_messages(Frames(size, size << 24, 1, 1 << 24), size, redis).seconds for size in (2, 8, 32)]
    assert times[2] > 2 * times[1] > times[0]


def test_a_message_over_a_store_is_a_put_and_a_get_and_a_long_one_is_several() -> None:
    dynamodb = LAMBDA.channel("dynamodb")
    assert objects_of(409_600 - 128, dynamodb) == 1
    assert objects_of(409_600, dynamodb) == 3
    estimate = of_messages(Frames(7, 7000, 3, 3000), 8, dynamodb)
    assert (estimate.puts, estimate.gets) == (7, 7)
    assert estimate.looks == pytest.approx(8 * estimate.seconds / dynamodb.poll)


def test_policies_choose_what_they_promise() -> None:
    channels = list(LAMBDA.channels.values())
    ways = options("allreduce", 16, 1 << 20, channels)
    best = {policy: choose("allreduce", 16, 1 << 20, channels, policy) for policy in POLICIES}
    scores = {
        "fast": lambda way: way.estimate.seconds,
        "cheap": lambda way: way.price.total,
        "balanced": lambda way: way.estimate.seconds * way.price.total,
    }
    for policy, score in scores.items():
        least = min(ways, key=score)
        assert best[policy] == (least.channel, least.algorithm)
    with pytest.raises(ConfigError, match="'cheap'"):
        choose("allreduce", 2, 8, channels, "chep")


def test_a_selector_asks_its_advisor_within_what_applies() -> None:
    selector = Selector(6, advise=Advisor("fast", LAMBDA.channel("tcp")))
    for collective in ALGORITHMS:
        for nbytes in (0, 8, 1 << 16, 1 << 24):
            assert selector.choose(collective, nbytes, False).applies(6, False)
    assert selector.choose("allreduce", 8).name == "linear"
    forced = Selector(6, forced={"allreduce": "ring"}, advise=Advisor("fast", LAMBDA.channel("tcp")))
    assert forced.choose("allreduce", 8).name == "ring"


@pytest.mark.parametrize("name", SHIPPED)
def test_profiles_survive_being_written(name: str) -> None:
    profile = load(name)
    again = parse(text_of("x", "2026-11-24", 'a "source"', list(profile.channels.values())), "x")
    assert {key: vars(channel) for key, channel in again.channels.items()}.keys() == profile.channels.keys()
    for key, channel in profile.channels.items():
        assert again.channels[key].alpha == pytest.approx(channel.alpha, rel=1e-3)
        assert (again.channels[key].store, again.channels[key].server) == (channel.store, channel.server)
        assert len(again.channels[key].crowd) == len(channel.crowd)
        prices().store(channel.server)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x", "profile p"),
        ("channels = 3", "malformed"),
        ("[channels.tcp]\nalpha = 1.0", "malformed"),
        ("[channels.tcp]\nalpha = 1.0\nbandwith = 2.0", "'bandwidth'"),
        ("[channels.tcp]\nalpha = -1.0\nbandwidth = 2.0", "alpha"),
    ],
)
def test_bad_profiles_say_what_is_wrong(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse(text, "p")


@pytest.mark.parametrize("name", ["lamda", "/nowhere/p.toml"])
def test_an_unknown_profile_is_an_error(name: str) -> None:
    with pytest.raises(ConfigError, match=r"lambda|calibrate"):
        load(name)


def test_fit_finds_what_was_put_in() -> None:
    alpha, bandwidth = fit.line([(n, 1e-5 + n / 2e9) for n in (8, 1 << 10, 1 << 16, 1 << 22)])
    assert (alpha, bandwidth) == (pytest.approx(1e-5, rel=1e-6), pytest.approx(2e9, rel=1e-6))
    assert fit.overhead(2e-5 + 15 * 3e-6, 16, 1e-5) == pytest.approx(3e-6)
    points = [(Frames(m, n, 1, 0), m * 2e-6 + n / 1e9) for m, n in ((8, 0), (8, 0), (8, 1 << 20))]
    assert fit.crowd(4, points) == Crowd(4, pytest.approx(2e-6), pytest.approx(1e9))


@pytest.mark.parametrize(
    ("channels", "policy", "short", "long"),
    [
        (("redis", "tcp"), "fast", "tcp", "tcp"),
        (("s3", "dynamodb"), "fast", "dynamodb", "s3"),
        (("s3", "dynamodb"), "cheap", "dynamodb", "s3"),
        (("shm", "tcp"), "cheap", "shm", "shm"),
        (("tcp", "shm"), "cheap", "tcp", "tcp"),
    ],
)
def test_a_policy_chooses_the_channel_of_messages(
    channels: tuple[str, ...], policy: str, short: str, long: str
) -> None:
    assert [best_for(policy, "lambda", channels, nbytes) for nbytes in (64, 1 << 26)] == [short, long]
