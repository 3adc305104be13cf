"""What can go wrong at `stoker up`, `down` and `status`."""


class Trouble(Exception):
    """One clear sentence for the person at the terminal; the command ends with exit code 2."""
