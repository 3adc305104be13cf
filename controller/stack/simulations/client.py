"""What `stoker simulate` asks of a controller that runs."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlencode

from pydantic import ValidationError

from controller.api.simulation_schemas import MOST_HOURS, HistoryTraceIn
from controller.installation import Layout
from controller.settings import load
from controller.simulate.profile import Profile
from controller.stack import api_client
from controller.stack.api_token import token_of
from controller.stack.simulations.ask import Traffic, profile
from controller.stack.trouble import Trouble


def history(state_dir: Path, pool: str, hours: float) -> Profile:
    """The traffic of that pool in the last hours. Blocks for 15 s at most.

    Raises:
        Trouble: nothing runs there, or the controller refuses.
        SimulationRefused: there is nothing to play.
    """
    try:
        wanted = HistoryTraceIn(source="history", hours=hours)
    except ValidationError as error:
        raise Trouble(f"--trace history: {hours:g} h is not between 0.25 and {MOST_HOURS} h") from error
    layout = Layout(state_dir)
    if not layout.config.is_file():
        raise Trouble(f"nothing was started with the state directory {layout.root}; `stoker up` starts it")
    path = f"/api/v1/simulations/traffic?{urlencode({'pool': pool, 'hours': hours})}"
    had = api_client.ask(load(layout.config), path, token=token_of(layout), patience_s=api_client.SLOW_S)
    return profile(wanted, pool, Traffic(**had))
