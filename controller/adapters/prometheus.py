"""MetricSource on Prometheus's HTTP API."""

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

_TIMEOUT_S = 1.0
# What reading an answer raises that is not of Prometheus, whoever listens on its port.
_NO_ANSWER_OF_ITS = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, OSError)


class PrometheusSource:
    """Instant queries. A connection is kept open between them."""

    def __init__(self, url: str) -> None:
        session = requests.Session()
        session.trust_env = False  # a proxy for the outside world must not get between us and our own Prometheus
        # No retries: the next tick is one, and a tick that waits for Prometheus cannot heal.
        self._client = PrometheusConnect(url=url, session=session, timeout=_TIMEOUT_S, retry=Retry(total=0))

    def query(self, promql: str) -> tuple[Sample, ...]:
        """See `MetricSource.query`."""
        try:
            answer = self._client.custom_query(promql, timeout=_TIMEOUT_S)
        except (requests.RequestException, PrometheusApiClientException, *_NO_ANSWER_OF_ITS) as error:
            raise MetricsUnavailable(f"Prometheus gave no answer: {type(error).__name__}") from error
        return read_vector(answer)


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
