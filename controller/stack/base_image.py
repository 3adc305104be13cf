"""What the replica image is built on: the official Python image, or a Debian of our own where no registry answers."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from controller.adapters.docker_image import BuildSpec, DockerImages, ImageRefused
from controller.stack.progress import Progress
from controller.stack.trouble import Trouble

OFFICIAL = "python:3.11-slim-bookworm"
# The engine's wheel is linked with GNU OpenMP, which the slim official image does not have.
OFFICIAL_WITH_OPENMP = "stoker/base:python-3.11-slim-bookworm"
_PULL_SILENCE_S = 30
_BOOTSTRAP_S = 900.0
_PACKAGES = (
    "python3,base-files,base-passwd,libc-bin,dash,coreutils,ca-certificates,"  # extracted, so nothing is implied
    "libgomp1,libstdc++6"  # the engine's wheel is linked with these
)
_LEFT_OUT = ("/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/man/*")
# In this variant no package's script runs, so the links of the merged /usr are made beforehand.
_MERGED_USR = 'for d in bin sbin lib lib64; do mkdir -p "$1/usr/$d"; ln -s usr/$d "$1/$d"; done'


@dataclass(frozen=True, slots=True)
class Base:
    """An image on the engine to build upon."""

    tag: str
    image_id: str


def choose(images: DockerImages, cache: Path, progress: Progress) -> Base:
    """The base to build upon; what the engine has already is taken first, so that a second start asks no network.

    Raises:
        Trouble: none can be had; each try's failure is in the text.
    """
    local = f"stoker/base:{suite()}"
    for tag in (OFFICIAL_WITH_OPENMP, local):
        if image_id := images.image_id(tag):
            return Base(tag, image_id)
    refusal = _prepare_official(images, progress)
    if refusal is None:
        return Base(OFFICIAL_WITH_OPENMP, _id(images, OFFICIAL_WITH_OPENMP))
    progress.say(f"The official image {OFFICIAL} cannot be had ({refusal}): making a base of Debian packages, {local}")
    _bootstrap(images, local, cache, progress)
    return Base(local, _id(images, local))


def suite(os_release: Path = Path("/etc/os-release")) -> str:
    """The Debian release of this machine, such as bookworm; the local base is of the same."""
    try:
        lines = os_release.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition("=")[2].strip('"') for line in lines if line.startswith("VERSION_CODENAME=")]
    return names[0] if names and names[0] else "bookworm"


def apt_sources(etc_apt: Path = Path("/etc/apt")) -> Path | None:
    """The file that says where this machine has its Debian from; None where neither usual file does."""
    for path in (etc_apt / "sources.list.d/debian.sources", etc_apt / "sources.list"):
        if path.is_file() and any(line.startswith(("deb ", "URIs:")) for line in path.read_text().splitlines()):
            return path
    return None


def _id(images: DockerImages, tag: str) -> str:
    image_id = images.image_id(tag)
    if image_id is None:
        raise Trouble(f"the image {tag} was made and then removed by somebody else; run `stoker up` again")
    return image_id


def _prepare_official(images: DockerImages, progress: Progress) -> str | None:
    """Pull it where it is missing and add OpenMP; None on success, else why not."""
    try:
        if images.image_id(OFFICIAL) is None:
            with progress.step(f"pulling {OFFICIAL}") as report:
                images.pull(OFFICIAL, _PULL_SILENCE_S, report)
        with progress.step(f"adding OpenMP to {OFFICIAL}") as report:
            spec = BuildSpec("Dockerfile", OFFICIAL_WITH_OPENMP, {}, network="default")
            images.build(_one_file("Dockerfile", _OPENMP_DOCKERFILE), spec, report)
    except ImageRefused as error:
        return str(error)
    return None


_OPENMP_DOCKERFILE = f"""\
FROM {OFFICIAL}
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/*
"""


def _one_file(name: str, text: str) -> io.BytesIO:
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as tar:
        entry = tarfile.TarInfo(name)
        entry.size = len(text.encode())
        tar.addfile(entry, io.BytesIO(text.encode()))
    context.seek(0)
    return context


def _bootstrap(images: DockerImages, tag: str, cache: Path, progress: Progress) -> None:
    program = shutil.which("mmdebstrap")
    if program is None or os.geteuid() != 0:
        lack = "mmdebstrap is not installed (apt-get install mmdebstrap)" if program is None else "that needs root"
        raise Trouble(
            f"no base for the replica image: {OFFICIAL} cannot be had, and one of Debian packages cannot be made "
            f"here, {lack}; or run `stoker up --runtime process`"
        )
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        root = Path(folder) / "root.tar"
        with progress.step(f"making {tag} with mmdebstrap"):
            _run_bootstrap(program, root)
        with progress.step(f"importing {tag}"):
            try:
                images.import_tar(str(root), tag)
            except ImageRefused as error:
                raise Trouble(f"the Docker engine does not take the base {tag}: {error}") from error


def _run_bootstrap(program: str, root: Path) -> None:
    command = [program, "--variant=extract", "--quiet", f"--include={_PACKAGES}", f"--setup-hook={_MERGED_USR}"]
    command += [f"--dpkgopt=path-exclude={pattern}" for pattern in _LEFT_OUT]
    command += [suite(), str(root)]
    if sources := apt_sources():
        command.append(str(sources))
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_BOOTSTRAP_S)
    except subprocess.TimeoutExpired as error:
        raise Trouble(f"mmdebstrap was not done after {_BOOTSTRAP_S / 60:.0f} minutes") from error
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.startswith("E:")] or done.stderr.splitlines()[-1:]
        raise Trouble(f"mmdebstrap cannot make the base of the replica image: {' '.join(said)}")
