"""Pool: what is asked of it, how many replicas it has and why, and what its users see."""

from __future__ import annotations

from dashboards.grafana.frame import Board, Panel, Row
from dashboards.grafana.panels import Query, Text, bars, heat, lines, states
from dashboards.grafana.queries import (
    CEILING,
    FLOOR,
    IN_FLIGHT,
    POOL,
    SERVING,
    desired,
    marks,
    pools,
    quantile,
    replicas,
    share,
    threshold,
)

_WINDOW = "[$__rate_interval]"


def board() -> Board:
    """Stoker / Pool."""
    return Board(
        "stoker-pool",
        "Stoker / Pool",
        "What is asked of a pool, how many replicas it has and why, and what its users see.",
        pools(),
        (
            Row("Demand and replicas", (_demand(), _sizes(), _wanted(), _reasons())),
            Row("What users see", (_durations(), _first_byte(), _errors(), _statuses())),
            Row("Engines", (_tokens(), _replica_tokens(), _caches(), _kv_cache())),
            Row("Room", (_utilization(), _memory(), _queues(), _starts())),
        ),
        marks(),
    )


def _demand() -> Panel:
    text = Text("How much is asked of it?", "Requests in flight, and those of them that wait at the gateway.", "none")
    waiting = f"sum by (pool) (stoker_edge_requests_waiting{{{POOL}}})"
    return lines(text, Query(IN_FLIGHT, "{{pool}} in flight"), Query(waiting, "{{pool}} waiting"))


def _sizes() -> Panel:
    text = Text(
        "How many replicas are there, and how many should be?",
        "Marks are the controller's decisions; the dashed lines are the floor and the ceiling.",
        "none",
    )
    return lines(
        text,
        Query(desired(), "{{pool}} desired"),
        Query(replicas(SERVING), "{{pool}} serving"),
        Query(replicas('state="starting"'), "{{pool}} starting"),
        Query(FLOOR, "{{pool}} floor", limit=True),
        Query(CEILING, "{{pool}} ceiling", limit=True),
    )


def _wanted() -> Panel:
    text = Text(
        "What does each signal ask for?",
        "Replicas that each signal alone would have; one that is unknown has no line, and the greatest counts.",
        "none",
    )
    wanted = f"max by (pool, signal) (stoker_pool_wanted_replicas{{{POOL}}})"
    return lines(text, Query(wanted, "{{pool}} {{signal}}"), Query(desired(), "{{pool}} desired"))


def _reasons() -> Panel:
    text = Text("Why has it that size?", "Each reason of the controller's, for as long as it stood.", "none")
    return states(text, Query(f"max by (pool, reason) (stoker_pool_reason{{{POOL}}})", "{{pool}} {{reason}}"))


def _durations() -> Panel:
    text = Text(
        "How long do answers take?", "Requests by the time from the first byte read to the last byte sent.", "s"
    )
    buckets = f"stoker_edge_pool_request_duration_seconds_bucket{{{POOL}}}"
    return heat(text, f"sum by (le) (increase({buckets}{_WINDOW}))")


def _first_byte() -> Panel:
    text = Text(
        "How long until the first byte?",
        "The wait for an answer's first byte, and the engine's time to the first token; the dashed line is the pool's "
        "threshold.",
        "s",
    )
    measured = (
        Query(quantile(share_of_all, "pool_time_to_first_byte_seconds", "pool"), f"{{{{pool}}}} {name}")
        for share_of_all, name in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
    )
    token = f'stoker:pool_time_to_first_token_seconds{{{POOL}, statistic="p95"}}'
    return lines(
        text,
        *measured,
        Query(token, "{{pool}} first token {{statistic}}"),
        Query(threshold("latency", ', measure="first_byte"'), "{{pool}} threshold", limit=True),
    )


def _errors() -> Panel:
    text = Text(
        "How many requests fail?",
        "Share of the requests that end with 5xx; the dashed line is the pool's own threshold.",
        "percentunit",
    )
    failed = f'rate(stoker_edge_requests_total{{{POOL}, code=~"5.."}}{_WINDOW})'
    ended = f"rate(stoker_edge_requests_total{{{POOL}}}{_WINDOW})"
    return lines(
        text,
        Query(share(failed, ended, "pool"), "{{pool}}"),
        Query(threshold("errors"), "{{pool}} threshold", limit=True),
    )


def _statuses() -> Panel:
    text = Text("How do requests end?", "Finished requests in a second, by the status that the client got.", "reqps")
    return lines(
        text,
        Query(f"sum by (pool, code) (rate(stoker_edge_requests_total{{{POOL}}}{_WINDOW}))", "{{pool}} {{code}}"),
        stacked=True,
    )


def _tokens() -> Panel:
    text = Text(
        "How many tokens are read and written?",
        "Tokens in a second of the requests that have ended, as their answers say; kept answers have none.",
        "short",
    )
    tokens = f"sum by (pool, direction) (rate(stoker_edge_tokens_total{{{POOL}}}{_WINDOW}))"
    return lines(text, Query(tokens, "{{pool}} {{direction}}"))


def _replica_tokens() -> Panel:
    text = Text("How fast does each replica write?", "Tokens in a second, those of running requests too.", "short")
    return lines(text, Query(f"stoker:replica_generation_tokens_per_second{{{POOL}}}", "{{replica}}"))


def _caches() -> Panel:
    text = Text(
        "What do caches save?",
        "Share of the requests that the gateway answers with what it kept, and of prompts' tokens that engines have "
        "from earlier prompts.",
        "percentunit",
    )
    kept = share(
        f'rate(stoker_edge_cache_requests_total{{{POOL}, result="hit"}}{_WINDOW})',
        f"rate(stoker_edge_cache_requests_total{{{POOL}}}{_WINDOW})",
        "pool",
    )
    prompts = f"stoker:pool_prefix_cache_hit_ratio{{{POOL}}}"
    return lines(text, Query(kept, "{{pool}} answers"), Query(prompts, "{{pool}} prompts"), most=1)


def _kv_cache() -> Panel:
    text = Text(
        "How full are the KV caches?",
        "Share of the room for prompts and answers that is in use, where the engine tells it.",
        "percentunit",
    )
    return lines(text, Query(f"stoker:replica_kv_cache_usage_ratio{{{POOL}}}", "{{replica}}"), most=1)


def _utilization() -> Panel:
    text = Text(
        "How busy is each replica?",
        "How much of its GPUs and of its CPUs it uses; the dashed line is the pool's own threshold.",
        "percentunit",
    )
    gpu, cpu = (f"stoker:replica_{kind}_utilization_ratio{{{POOL}}}" for kind in ("gpu", "cpu"))
    return lines(
        text,
        Query(gpu, "{{replica}} GPU"),
        Query(cpu, "{{replica}} CPU"),
        Query(threshold("utilization", by="pool, of"), "{{pool}} threshold {{of}}", limit=True),
        most=1,
    )


def _memory() -> Panel:
    text = Text(
        "How full is each replica's memory?",
        "That of its fullest GPU, and its own; the dashed line is the pool's threshold.",
        "percentunit",
    )
    return lines(
        text,
        Query(f'stoker:replica_memory_ratio{{{POOL}, of=~"gpu|container"}}', "{{replica}} {{of}}"),
        Query(threshold("memory", by="pool, of"), "{{pool}} threshold {{of}}", limit=True),
        most=1,
    )


def _queues() -> Panel:
    text = Text(
        "Where do requests wait?",
        "Requests in the queue of each replica's engine: it has them, and computes others first.",
        "none",
    )
    return lines(text, Query(f"stoker:replica_requests_waiting{{{POOL}}}", "{{replica}}"))


def _starts() -> Panel:
    text = Text("What does a start take?", "Seconds of each stage of the start of the replicas that are there.", "s")
    stages = f"max by (pool, stage) (stoker_launcher_stage_seconds{{{POOL}}})"
    return bars(text, Query(stages, "{{pool}} {{stage}}"))
