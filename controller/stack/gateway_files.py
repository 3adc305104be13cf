"""Where the history of nginx lies: beside the gateway's folder, which `stoker up` clears."""

from __future__ import annotations

from pathlib import Path

from controller.installation import Layout


def history_folder(layout: Layout) -> Path:
    """The configurations that nginx took."""
    return layout.root / "gateway-history"


def revert_file(layout: Layout) -> Path:
    """The settings that somebody went back to."""
    return history_folder(layout) / "reverted.json"
