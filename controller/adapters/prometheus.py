"""MetricSource and MetricHistory on Prometheus's HTTP API."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import requests
from prometheus_api_client import PrometheusConnect
from prometheus_api_client.exceptions import PrometheusApiClientException
from urllib3.util.retry import Retry

from controller.core.errors import MetricsUnavailable
from controller.ports import Sample
from controller.ports.history import MOST_POINTS
from controller.records import Series

_TIMEOUT_S = 1.0
_RANGE_S = 5.0  # after so long Prometheus gives up, and its words arrive a little later
# What reading an answer raises that is not of Prometheus, whoever listens on its port.
_NO_ANSWER_OF_ITS = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, OSError)


class PrometheusSource:
    """Instant queries. A connection is kept open between them."""

    def __init__(self, url: str) -> None:
        # No retries: the next tick is one, and a tick that waits for Prometheus cannot heal.
        self._client = _client(url, _TIMEOUT_S)

    def query(self, promql: str) -> tuple[Sample, ...]:
        """See `MetricSource.query`."""
        try:
            answer = self._client.custom_query(promql, timeout=_TIMEOUT_S)
        except (requests.RequestException, PrometheusApiClientException, *_NO_ANSWER_OF_ITS) as error:
            raise MetricsUnavailable(f"Prometheus gave no answer: {type(error).__name__}") from error
        return read_vector(answer)


class PrometheusHistory:
    """Range queries, on connections of their own: a tick never waits for one."""

    def __init__(self, url: str) -> None:
        self._client = _client(url, _RANGE_S + 1)

    def query_range(self, promql: str, start: datetime, end: datetime, step_s: int) -> tuple[Series, ...]:
        """See `MetricHistory.query_range`."""
        if not 1 <= (end - start).total_seconds() // step_s + 1 <= MOST_POINTS:
            raise ValueError(f"from {start} to {end} every {step_s} s are not 1 to {MOST_POINTS} points")
        limit = {"timeout": f"{_RANGE_S:g}s"}
        try:
            answer = self._client.custom_query_range(promql, start, end, str(step_s), params=limit)
        except (requests.RequestException, PrometheusApiClientException, *_NO_ANSWER_OF_ITS) as error:
            raise MetricsUnavailable(f"Prometheus gave no answer: {type(error).__name__}") from error
        return read_matrix(answer)


def _client(url: str, timeout_s: float) -> PrometheusConnect:
    session = requests.Session()
    session.trust_env = False  # a proxy for the outside world must not get between us and our own Prometheus
    return PrometheusConnect(url=url, session=session, timeout=timeout_s, retry=Retry(total=0))


def read_matrix(answer: Any) -> tuple[Series, ...]:
    """The `result` of a range query -> series; NaN and infinities are left out, and so are series of nothing else.

    Raises:
        MetricsUnavailable: it is no range.
    """
    try:
        found = tuple(
            Series(
                dict(item["metric"]),
                {round(float(at)): number for at, value in item["values"] if math.isfinite(number := float(value))},
            )
            for item in answer
        )
    except _NO_ANSWER_OF_ITS as error:
        raise MetricsUnavailable("Prometheus answered with something that is no range of values") from error
    return tuple(series for series in found if series.points)


def read_vector(answer: Any) -> tuple[Sample, ...]:
    """The `result` of an instant query -> samples; NaN and infinities are left out.

    Raises:
        MetricsUnavailable: it is no instant vector.
    """
    try:
        samples = tuple(
            Sample(dict(item["metric"]), float(value), datetime.fromtimestamp(float(at), tz=UTC))
            for item in answer
            for at, value in (item["value"],)
        )
    except _NO_ANSWER_OF_ITS as error:
        raise MetricsUnavailable("Prometheus answered with something that is no instant vector") from error
    return tuple(sample for sample in samples if math.isfinite(sample.value))
