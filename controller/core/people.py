"""Who may use the controller."""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """What somebody may do: look; give orders, too; say who else may."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    def allows(self, needed: Role) -> bool:
        """Whether this role may do what needs that one."""
        order = tuple(Role)
        return order.index(self) >= order.index(needed)
