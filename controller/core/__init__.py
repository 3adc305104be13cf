"""The arithmetic of Stoker: what to do, given what was seen. Standard library only; no clock, no I/O, no log."""
