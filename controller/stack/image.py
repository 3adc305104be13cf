"""The replica image: built once for each content, found by its tag after that, and brought to every node."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import controller
from controller.adapters.docker_image import BuildSpec, DockerImages, ImageRefused
from controller.installation import LOCAL, NodeParts
from controller.stack import base_image
from controller.stack.base_image import Base
from controller.stack.progress import Progress
from controller.stack.trouble import Trouble

SOURCES = Path(controller.__file__).parent.parent / "inference_node"
LOCK = SOURCES / "requirements.lock"
DOCKERFILE = "inference_node/Dockerfile"
_REPOSITORY = "stoker/llamacpp"
_PIP_S = 900.0
_ASK = "import sys; print('%d.%d' % sys.version_info[:2])"


@dataclass(frozen=True, slots=True)
class Built:
    """The replica image's tag, and the id of the image that it was built on."""

    tag: str
    base_id: str


def ensure(host: str, cache: Path, progress: Progress) -> str:
    """The tag of the replica image on the engine at `host`; built there where it is missing.

    Blocks for minutes where everything has to be fetched first, for less than a second where nothing has to.
    `cache` keeps the Python packages that go into the image.

    Raises:
        Trouble: it cannot be built, and why.
    """
    return ensure_on_all([NodeParts(name=LOCAL, docker_host=host)], cache, progress).tag


def ensure_on_all(nodes: Sequence[NodeParts], cache: Path, progress: Progress, base_id: str = "") -> Built:
    """The replica image, on all of these engines: built on one of them, and brought to those that lack it.

    `base_id`: what it was built on before. An engine that has that image gives it away, so that the same sources are
    the same image although engines make different bases.

    Raises:
        Trouble: it cannot be built or brought, and why.
    """
    usual = f"{_REPOSITORY}:{content_hash(SOURCES, base_id)}"
    source = next((node for node in nodes if base_id and _has(node, usual)), None)
    built = Built(usual, base_id)
    if source is None:
        source = nodes[0]
        built = _build(source, cache, progress)
    for node in nodes:
        if node is not source and not _has(node, built.tag):
            with progress.step(f"bringing {built.tag} from node {source.name} to {node.name}"):
                _bring(built.tag, source, node)
    return built


def _has(node: NodeParts, tag: str) -> bool:
    try:
        with closing(DockerImages(node.docker_host, node.tls)) as images:
            return images.image_id(tag) is not None
    except ImageRefused as error:
        raise Trouble(f"node {node.name} does not say which images it has: {error}") from error


def _bring(tag: str, source: NodeParts, target: NodeParts) -> None:
    try:
        with (
            closing(DockerImages(source.docker_host, source.tls)) as giver,
            closing(DockerImages(target.docker_host, target.tls)) as taker,
        ):
            giver.bring(tag, taker)
    except ImageRefused as error:
        raise Trouble(f"the replica image cannot be brought to node {target.name}: {error}") from error


def _build(node: NodeParts, cache: Path, progress: Progress) -> Built:
    try:
        with closing(DockerImages(node.docker_host, node.tls)) as images:
            return _ensure(images, cache, progress)
    except ImageRefused as error:
        raise Trouble(f"the replica image cannot be built: {error}; or run `stoker up --runtime process`") from error


def _ensure(images: DockerImages, cache: Path, progress: Progress) -> Built:
    base = base_image.choose(images, cache, progress)
    tag = f"{_REPOSITORY}:{content_hash(SOURCES, base.image_id)}"
    if images.image_id(tag) is None:
        progress.say(f"Building the replica image {tag} on {base.tag}")
        packages = _packages(images, base, cache, progress)
        with progress.step(f"building {tag}") as report, tempfile.TemporaryFile(dir=cache) as context:
            with tarfile.open(fileobj=context, mode="w") as tar:
                tar.add(packages, arcname="packages", filter=_readable)
                tar.add(SOURCES, arcname="inference_node", filter=_without_caches)
            context.seek(0)
            images.build(context, BuildSpec(DOCKERFILE, tag, {"BASE": base.tag}), report)
    return Built(tag, base.image_id)


def content_hash(sources: Path, base_id: str) -> str:
    """Twelve hexadecimal digits over all that goes into the image: sources, Dockerfile, locked packages, base."""
    digest = hashlib.sha256(base_id.encode())
    for path in _files(sources):
        for part in (str(path.relative_to(sources)).encode(), path.read_bytes()):
            digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()[:12]


def _files(sources: Path) -> Iterator[Path]:
    return (path for path in sorted(sources.rglob("*")) if path.is_file() and "__pycache__" not in path.parts)


def _without_caches(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if "__pycache__" in entry.name else _readable(entry)


def _readable(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """For the image's own user, whatever this one's umask made of it."""
    entry.mode |= 0o555 if entry.isdir() else 0o444
    return entry


def _packages(images: DockerImages, base: Base, cache: Path, progress: Progress) -> Path:
    """A folder with the locked Python packages for the base's Python, fetched where it is not in the cache."""
    version = images.run_once(base.tag, ["python3", "-c", _ASK])
    digest = hashlib.sha256(LOCK.read_bytes() + version.encode()).hexdigest()[:12]
    folder = cache / f"packages-{digest}"
    if folder.exists():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    for old in cache.glob("packages-*"):
        shutil.rmtree(old)
    with progress.step(f"fetching the engine for Python {version}"), tempfile.TemporaryDirectory(dir=cache) as partial:
        target = Path(partial) / "packages"
        _install(target, version)
        os.rename(target, folder)
    return folder


def _install(target: Path, version: str) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--require-hashes", "--only-binary=:all:", "--no-compile", "--requirement", str(LOCK)]
    command += ["--target", str(target)]
    if version != f"{sys.version_info.major}.{sys.version_info.minor}":
        machine = platform.machine()
        platforms = (f"manylinux_2_28_{machine}", f"manylinux_2_17_{machine}", f"manylinux2014_{machine}")
        command += ["--python-version", version, *(f"--platform={name}" for name in platforms)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PIP_S)
    except subprocess.TimeoutExpired as error:
        raise Trouble("fetching the engine's Python packages takes more than 15 minutes") from error
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["pip failed"]
        raise Trouble(f"the engine's Python packages cannot be fetched: {' '.join(said)}")
