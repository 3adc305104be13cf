"""Plays a trace of requests against a model of the fleet, with the real core or a peer's autoscaler deciding."""
