"""`stoker drill`: hurts one part of the running installation under load, and holds what follows against the promise."""
