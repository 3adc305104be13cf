"""Simulations for the API and the page: a queue, a process of its own for each, and what is kept of them."""
