"""Made-up traffic: the same from the same seed, of the asked-for rate and shape, one request at a time."""

from __future__ import annotations

import itertools

import pytest

from controller.simulate.errors import TraceError
from controller.simulate.synthetic import Kind, Synthetic, parse


def test_every_value_is_read() -> None:
    made = parse("synthetic:diurnal?hours=24.5&rps=3&seed=1&prompt=500&output=50")

    assert made == Synthetic(Kind.DIURNAL, 24.5, 3.0, 1, 500, 50)
    assert (made.duration_s, made.mean_prompt_tokens, made.mean_output_tokens) == (88_200, 500, 50)


def test_its_name_reads_back() -> None:
    made = Synthetic(Kind.BURST, 1.123456789, 3.0, 2**62 + 1)

    assert made.name == "synthetic:burst?hours=1.123456789&rps=3&seed=4611686018427387905&prompt=1000&output=200"
    assert parse(made.name) == made


def test_every_value_has_a_default() -> None:
    assert parse("synthetic:flat") == parse("synthetic:flat?") == Synthetic(Kind.FLAT)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("synthetic:", "there is no synthetic trace ''; choose among flat, ramp, burst, diurnal, spike, crowd, outage"),
        ("synthetic:wave?rps=1", "there is no synthetic trace 'wave'; choose among"),
        ("synthetic:flat?day=1", "a synthetic trace has no 'day'; give some of hours, rps, seed, prompt, output"),
        ("synthetic:flat?rps=1&rps=2", "rps is given twice; give it once"),
        ("synthetic:flat?rps", "rps is ''; it must be a number, such as 1.5"),
        ("synthetic:flat?rps=fast", "rps is 'fast'; it must be a number, such as 1.5"),
        ("synthetic:flat?seed=1.5", "seed is '1.5'; it must be a whole number, such as 1"),
        ("synthetic:flat?seed=-1", "seed is '-1'; it must be a whole number, such as 1"),
        ("synthetic:flat?rps=0", "rps is 0; give 0.001 to 10000 in a synthetic trace"),
        ("synthetic:flat?rps=nan", "rps is nan; give 0.001 to 10000"),
        ("synthetic:flat?hours=inf", "hours is inf; give 0.001 to 10000"),
        ("synthetic:flat?prompt=0", "prompt is 0; give 1 to 100000"),
        ("synthetic:flat?output=100001", "output is 100001; give 1 to 100000"),
        ("synthetic:flat?hours=10000&rps=10000", "make 3.6e+11 requests; make it at most 50000000"),
    ],
)
def test_what_cannot_be_made_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(TraceError) as refused:
        parse(text)

    assert sentence in str(refused.value)


@pytest.mark.parametrize("kind", Kind)
def test_the_same_seed_makes_the_same_requests(kind: Kind) -> None:
    made = Synthetic(kind, rps=5, seed=7)
    requests = list(made)

    assert requests == list(made)
    assert requests != list(Synthetic(kind, rps=5, seed=8))
    assert [request.at_s for request in requests] == sorted(request.at_s for request in requests)
    assert requests[-1].at_s < made.duration_s


@pytest.mark.parametrize("kind", Kind)
def test_the_mean_rate_is_that_asked_for(kind: Kind) -> None:
    hours = 24.0 if kind is Kind.DIURNAL else 2.0
    made = Synthetic(kind, hours=hours, rps=2.0, prompt=300, output=40)
    requests = list(made)
    count = len(requests)

    assert count / made.duration_s == pytest.approx(2.0, rel=0.05)
    assert sum(request.prompt_tokens for request in requests) / count == pytest.approx(300, rel=0.05)
    assert sum(request.output_tokens for request in requests) / count == pytest.approx(40, rel=0.05)


@pytest.mark.parametrize(
    ("kind", "at", "rps"),
    [
        (Kind.FLAT, 0.5, 2.0),
        (Kind.RAMP, 0.0, 0.0),
        (Kind.RAMP, 0.25, 1.0),
        (Kind.BURST, 0.05, 2 * 0.6 / 0.9),
        (Kind.BURST, 0.095, 8.0),
        (Kind.DIURNAL, 0.0, 0.2),
        (Kind.DIURNAL, 0.5, 3.8),
        (Kind.SPIKE, 0.44, 2 * 0.75 / 0.9),
        (Kind.SPIKE, 0.5, 3 * 2 * 0.75 / 0.9),
        (Kind.CROWD, 0.29, 0.9804),
        (Kind.CROWD, 0.3, 8 * 0.9804),
        (Kind.CROWD, 0.99, 1.049),
        (Kind.OUTAGE, 0.1, 2 / 3),
        (Kind.OUTAGE, 0.5, 4.0),
    ],
)
def test_the_shape(kind: Kind, at: float, rps: float) -> None:
    assert Synthetic(kind, hours=24, rps=2).rate(at * 86_400) == pytest.approx(rps, rel=1e-3)


def test_metrics_are_missing_in_the_middle_of_an_outage() -> None:
    assert Synthetic(Kind.OUTAGE, hours=1).outages == ((pytest.approx(1440), pytest.approx(2160)),)
    assert Synthetic(Kind.FLAT).outages == ()


def test_a_year_can_begin_at_once() -> None:
    first = list(itertools.islice(Synthetic(Kind.FLAT, hours=8760, rps=1), 3))

    assert len(first) == 3
