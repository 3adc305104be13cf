"""Secrets stand in files of their own, which only their owner may use; the configuration has the files' paths."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from controller.faults import ConfigError


@dataclass(frozen=True, slots=True)
class SecretUrl:
    """A kind of URL that has a password in it."""

    key: str  # of the configuration, which names the file
    whose: str
    pattern: re.Pattern[str]
    like: str  # for the message

    @property
    def advice(self) -> str:
        """For who has put the URL itself into the configuration."""
        return (
            f"{self.whose} URL holds its password, and this file is copied, shown and kept in repositories; "
            f"write the URL into a file of mode 0600 and give that file's path as {self.key}"
        )

    def no_url(self) -> Callable[[object], object]:
        """A validator that refuses a URL without repeating it."""

        def refuse(value: object) -> object:
            if isinstance(value, str) and "://" in value:
                raise ValueError(self.advice)
            return value

        return refuse

    def read(self, path: Path) -> str:
        """What the file holds.

        Raises:
            ConfigError: it cannot be read, others may use it, or it holds no such URL. Its contents are never told.
        """
        text = owners_only(path, self.key, f"{self.whose} URL")
        if self.pattern.fullmatch(text) is None:
            raise ConfigError(f"{path}: holds no URL {self.like}, alone on one line")
        return text


def read_secret(path: Path, key: str, what: str) -> str:
    """A password or a token, without the white space around it; `what` says whose, for the messages.

    Raises:
        ConfigError: it cannot be read, others may use it, or it holds no such thing. Its contents are never told.
    """
    text = owners_only(path, key, what)
    if not text.isprintable() or not text:
        raise ConfigError(f"{path}: is to hold {what}, alone on one line")
    return text


def owners_only(path: Path, key: str, what: str) -> str:
    """What the file holds; `key` names it in the configuration. Raises `ConfigError`."""
    try:
        with path.open(encoding="utf-8") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            text = file.read(4096).strip()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); {key} names it") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text; it is to hold {what} and nothing else") from error
    if mode & 0o077:
        raise ConfigError(f"{path}: others than its owner may use it (mode {mode:04o}); chmod 600 it")
    return text
