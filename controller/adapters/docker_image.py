"""Images on a Docker engine: look, pull, import, build, bring to another. Only `stoker up` and `apply` use this.

Every method raises `ImageRefused` with the engine's own words.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any, cast
from urllib.parse import SplitResult, urlsplit

import docker
import requests
from docker.errors import APIError, DockerException, ImageNotFound
from docker.tls import TLSConfig

from controller.installation import TlsFiles

_TCP_PORT = 2375
_ANSWER_TIMEOUT_S = 60
_BUILD_SILENCE_S = 600  # a build step may say nothing for as long as it runs


class ImageRefused(Exception):
    """The engine cannot or will not; the text says why, in one line."""


def ping(host: str, timeout_s: float, tls: TlsFiles | None = None) -> bool:
    """Whether an engine answers at `host` (unix:///... or tcp://...) within a few times `timeout_s`."""
    # Not with Docker's library: it leaks a socket for each engine that is not there.
    try:
        with _connect(urlsplit(host), timeout_s, tls) as connection:
            connection.sendall(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")
            return b" 200 " in connection.recv(64)
    except (OSError, ValueError):
        return False


def _connect(address: SplitResult, timeout_s: float, tls: TlsFiles | None) -> socket.socket:
    if address.scheme != "unix":
        made = socket.create_connection((address.hostname or "", address.port or _TCP_PORT), timeout_s)
        return made if tls is None else _secured(made, address.hostname or "", tls)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout_s)
        connection.connect(address.path)
    except OSError:
        connection.close()
        raise
    return connection


def _secured(connection: socket.socket, hostname: str, tls: TlsFiles) -> socket.socket:
    try:
        context = ssl.create_default_context(cafile=tls.ca)
        context.load_cert_chain(tls.cert, tls.key)
        return context.wrap_socket(connection, server_hostname=hostname)
    except (OSError, ValueError):
        connection.close()
        raise


class DockerImages:
    """The images of one engine."""

    def __init__(self, host: str, tls: TlsFiles | None = None) -> None:
        with _in_one_line():
            secured = TLSConfig(client_cert=(tls.cert, tls.key), ca_cert=tls.ca, verify=True) if tls else False
            self._client = docker.DockerClient(base_url=host, tls=secured, timeout=_ANSWER_TIMEOUT_S)

    def close(self) -> None:
        """Let go of the connection. Idempotent."""
        self._client.close()

    def image_id(self, tag: str) -> str | None:
        """The id of an image that the engine has; None where it has none of that name."""
        with _in_one_line():
            try:
                return str(self._client.images.get(tag).id)
            except ImageNotFound:
                return None

    def pull(self, tag: str, silence_s: int, report: Callable[[str], None]) -> None:
        """Fetch from the tag's registry. Gives up when the engine says nothing for `silence_s`."""
        with _in_one_line(), self._patient(silence_s):
            repository, name = tag.split(":")
            for event in self._client.api.pull(repository, tag=name, stream=True, decode=True):
                _raise_error(event)
                report(f"{event.get('status', '')} {event.get('progress', '')}".strip())

    def import_tar(self, path: str, tag: str) -> None:
        """Make an image of a root file system in a tar file. Blocks until the engine has read it."""
        repository, name = tag.split(":")
        with _in_one_line(), self._patient(_BUILD_SILENCE_S):
            self._client.api.import_image_from_file(path, repository=repository, tag=name)

    def run_once(self, image: str, command: list[str]) -> str:
        """What `command` prints in a container of the image that has no network and is removed after."""
        with _in_one_line():
            printed = self._client.containers.run(image, command, entrypoint=[], remove=True, network_disabled=True)
            return bytes(printed).decode(errors="replace").strip()

    def build(self, context: IO[bytes], spec: BuildSpec, report: Callable[[str], None]) -> None:
        """Build from a tar of the context. Blocks for as long as the build takes; leaves no container behind."""
        with _in_one_line(), self._patient(_BUILD_SILENCE_S):
            events = self._client.api.build(
                fileobj=context,
                custom_context=True,
                dockerfile=spec.dockerfile,
                tag=spec.tag,
                buildargs=dict(spec.arguments),
                network_mode=spec.network,
                rm=True,
                forcerm=True,
                decode=True,
            )
            for event in events:
                _raise_error(event)
                if text := event.get("stream", "").strip():
                    report(text.splitlines()[0])

    def bring(self, tag: str, target: DockerImages) -> None:
        """Give another engine the image that this one has. Blocks as long as it takes; keeps a few MB at a time."""
        if self.image_id(tag) is None:
            raise ImageRefused(f"the engine that is to give {tag} away has it no more")
        with _in_one_line(), self._patient(_BUILD_SILENCE_S), target._patient(_BUILD_SILENCE_S):
            # The library's types leave this one out.
            load = cast(Callable[[Iterator[bytes]], Iterator[Mapping[str, Any]]], target._client.api.load_image)
            for event in load(self._client.api.get_image(tag)):
                _raise_error(event)
        if target.image_id(tag) is None:
            raise ImageRefused(f"it took {tag} and does not have it")

    @contextmanager
    def _patient(self, seconds: int) -> Iterator[None]:
        """For the length of the body, wait for each piece of an answer for so long."""
        usual = self._client.api.timeout
        self._client.api.timeout = seconds
        try:
            yield
        finally:
            self._client.api.timeout = usual


class BuildSpec:
    """What to build: the Dockerfile's path in the context, the tag, its ARGs, and which network RUN may use."""

    def __init__(self, dockerfile: str, tag: str, arguments: Mapping[str, str], network: str = "none") -> None:
        self.dockerfile = dockerfile
        self.tag = tag
        self.arguments = arguments
        self.network = network


def _raise_error(event: Mapping[str, Any]) -> None:
    if "error" in event:
        raise ImageRefused(" ".join(str(event["error"]).split()))


@contextmanager
def _in_one_line() -> Iterator[None]:
    try:
        yield
    except APIError as error:
        raise ImageRefused(" ".join(str(error.explanation or error).split())) from error
    except requests.ReadTimeout as error:
        raise ImageRefused("no answer in time") from error
    except (DockerException, requests.RequestException) as error:
        raise ImageRefused(" ".join(str(error).split())) from error
