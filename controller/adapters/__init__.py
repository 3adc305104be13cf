"""One file per outside system, each with its own library. They do not know each other."""
