"""The hot cache in the configuration and in what `stoker up` starts: nothing without it, and its secret nowhere."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from controller.adapters.nginx import hot
from controller.installation import Layout
from controller.settings import ConfigError, Settings, parse
from controller.stack import gateway, hot_cache, prometheus
from controller.stack.programs import STOP_ORDER

POOL = "pools:\n  - {name: small, model: small, checkpoint: s.gguf}\n"
SECRET = "hunter2"
URL = f"redis://:{SECRET}@cache:6379/0"
LAYOUT = Layout(Path("/srv/stoker"))


@pytest.fixture
def url_file(tmp_path: Path) -> Path:
    file = tmp_path / "redis.url"
    file.write_text(URL + "\n")
    file.chmod(0o600)
    return file


def configured(url_file: object, more: str = "", controller: str = "instance: 0123456789ab") -> Settings:
    hot = f"gateway: {{hot_cache: {{redis_url_file: {url_file}{more}}}}}\n"
    return parse(f"{POOL}{hot}controller: {{{controller}}}\n", "c.yaml")


def test_without_it_there_is_no_service() -> None:
    settings = parse(POOL, "c.yaml")

    hot_cache.require(settings)
    assert hot_cache.programs(settings, LAYOUT) == ()
    assert "hotcache" not in prometheus.render(settings, LAYOUT)


def test_it_is_started_in_nginxs_folder_and_nobody_who_looks_at_processes_sees_the_url(url_file: Path) -> None:
    settings = configured(url_file, ", cluster: true, timeout: 250ms, max_answer: 2MiB")

    hot_cache.require(settings)
    (program,) = hot_cache.programs(settings, LAYOUT)

    assert (program.name, program.directory) == ("hotcache", LAYOUT.gateway)
    assert program.name in STOP_ORDER
    assert " ".join(program.command[1:]) == (
        f"-m gateway.hotcache --socket hot/cache.sock --redis-url-file {url_file} --instance 0123456789ab --cluster "
        "--timeout-ms 250 --max-answer-bytes 2097152"
    )


def test_prometheus_asks_nginx_for_its_page(url_file: Path) -> None:
    jobs = yaml.safe_load(prometheus.render(configured(url_file), LAYOUT))["scrape_configs"]

    (job,) = [job for job in jobs if job["job_name"] == "hotcache"]
    assert job["metrics_path"] == "/hot_cache"
    assert job["static_configs"] == [{"targets": ["127.0.0.1:8081"]}]


def test_it_must_be_said_whose_answers_they_are(url_file: Path) -> None:
    with pytest.raises(ConfigError, match=r"gateway\.hot_cache needs controller\.instance"):
        hot_cache.require(configured(url_file, controller=""))


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        pytest.param(URL, 0o644, "others than its owner may use it (mode 0644); chmod 600 it", id="for everybody"),
        pytest.param(URL.replace("redis", "postgresql"), 0o600, "holds no URL redis://", id="another database"),
        pytest.param(None, 0o600, "redis_url_file names it", id="missing"),
    ],
)
def test_a_file_that_cannot_be_the_secrets_place(tmp_path: Path, text: str | None, mode: int, said: str) -> None:
    file = tmp_path / "url"
    if text is not None:
        file.write_text(text)
        file.chmod(mode)

    with pytest.raises(ConfigError) as refused:
        hot_cache.require(configured(file))

    assert said in str(refused.value)
    assert SECRET not in str(refused.value)


def test_a_url_in_the_configuration_is_refused_without_repeating_it() -> None:
    with pytest.raises(ConfigError, match=r"the hot cache's URL holds its password.*redis_url_file") as refused:
        configured(f"'{URL}'")

    assert SECRET not in str(refused.value)


def test_nginx_is_prepared_with_the_folder_of_the_sockets(tmp_path: Path, url_file: Path) -> None:
    layout = Layout(tmp_path / "state")
    for _ in range(2):  # what an earlier run has left is cleared away
        gateway.prepare(configured(url_file), layout)
        stale = layout.gateway / hot.SOCKET
        assert not stale.exists()
        stale.touch()

    assert (layout.gateway / hot.NAME).stat().st_mode & 0o777 == (0o750 if os.geteuid() == 0 else 0o700)
    assert "listen unix:hot/look.sock" in (layout.gateway / "nginx.conf").read_text()
