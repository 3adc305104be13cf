"""Properties are tried on the same examples each time and without a clock: what fails then is what was changed.

`pytest tests/unit/core --hypothesis-profile=search` looks for new ones, for minutes.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile(
    "steady", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
settings.register_profile("search", settings.get_profile("steady"), derandomize=False, max_examples=5000)
if settings.get_current_profile_name() == "default":
    settings.load_profile("steady")
