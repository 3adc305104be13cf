"""What a simulation refuses, in one sentence: what is wrong, and what would be right."""


class SimulateError(ValueError):
    """Anything in a simulation's input that only a person can put right."""


class TraceError(SimulateError):
    """A trace that cannot be played."""


class ModelError(SimulateError):
    """An engine model or a setup that describes no possible machine."""
