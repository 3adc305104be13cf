"""What can go wrong, by what the tick must do about it.

ControllerError
├── TransientError           the next tick tries again; the wanted state is unchanged
│   ├── MetricsUnavailable
│   ├── RuntimeUnavailable
│   ├── GatewayUnavailable
│   └── DatabaseUnavailable  of the database adapter
├── PermanentError           retrying is useless until something is changed
│   ├── RuntimeRejected
│   ├── GatewayRejected      nginx refused the configuration; the old one still serves
│   ├── LoginRefused         what was shown lets nobody in
│   └── DatabaseRefused      of the database adapter: another version, or no rights
└── LostLease                another controller leads: write nothing, finish nothing
"""


class ControllerError(Exception):
    """Anything that the controller raises on purpose."""


class TransientError(ControllerError):
    """The next tick tries again."""


class MetricsUnavailable(TransientError):
    """Prometheus did not answer in time, or answered with an error."""


class RuntimeUnavailable(TransientError):
    """The container engine did not answer in time; what was asked may or may not have happened."""


class GatewayUnavailable(TransientError):
    """nginx is not running, or did not take the new configuration in time."""


class PermanentError(ControllerError):
    """Only a change by a person helps."""


class RuntimeRejected(PermanentError):
    """The container engine says that this can never work: no such image, no such GPU, a bad mount."""


class GatewayRejected(PermanentError):
    """`nginx -t` refused the new configuration; the old one still serves."""


class LoginRefused(PermanentError):
    """Whoever wants to log in may not, or did not show that it is who it says. The text is for that person."""


class LostLease(ControllerError):
    """Another controller has a newer term."""
