"""The dashboard in a real browser, on a stack of its own."""
