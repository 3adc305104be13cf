"""What the configuration says of the gateway: `gateway`, `plans` and `pools[].gateway`, apart from everything else.

The history keeps it with each configuration of nginx, a revert brings it back, and the nginx of another machine is
rendered from it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, get_args

from pydantic import BaseModel, ValidationError

from controller.settings.file import Settings
from controller.settings.gateway import GatewaySettings, PlanSettings, PoolGatewaySettings
from controller.settings.pools import PoolSettings
from controller.settings.scaling import ScalingSettings
from controller.settings.values import Listed, ModelName, Name, Section, Size

_MIB = 1024**2
_IS_SIZE = get_args(Size)[1]
_ELSEWHERE = "elsewhere"  # a checkpoint that nobody here needs


class FrontPool(Section):
    """A pool as nginx sees it. `target`: requests in flight of a replica, which its limit in nginx may follow from."""

    name: Name
    model: ModelName
    target: float | None = None
    gateway: PoolGatewaySettings = PoolGatewaySettings()


class FrontSettings(Section):
    """All of it."""

    gateway: GatewaySettings = GatewaySettings()
    plans: Annotated[tuple[PlanSettings, ...], Listed] = ()
    pools: Annotated[tuple[FrontPool, ...], Listed] = ()


def front_of(settings: Settings) -> FrontSettings:
    """What that file says of the gateway."""
    return FrontSettings(gateway=settings.gateway, plans=settings.plans, pools=tuple(map(_pool, settings.pools)))


def with_front(settings: Settings, front: FrontSettings) -> Settings:
    """The file as if it said that of the gateway.

    A pool that `front` does not know keeps what the file says of it. Address and hot cache stay, too: other programs
    run with those.

    Raises:
        ValueError: together they are impossible, in one sentence.
    """
    known = {pool.name: pool.gateway for pool in front.pools}
    bound = {"host": settings.gateway.host, "hot_cache": settings.gateway.hot_cache}
    parts = {name: getattr(settings, name) for name in type(settings).model_fields}
    parts["gateway"] = front.gateway.model_copy(update=bound)
    parts["plans"] = front.plans
    parts["pools"] = tuple(
        pool.model_copy(update={"gateway": known.get(pool.name, pool.gateway)}) for pool in settings.pools
    )
    return _checked(parts)


def settings_for(front: FrontSettings, host: str) -> Settings:
    """For an nginx on another machine, which listens on `host`. What is not of the gateway has no meaning there.

    Raises:
        ValueError: they are impossible, in one sentence.
    """
    bound = {"host": host, "hot_cache": None}
    pools = tuple(
        PoolSettings(
            name=pool.name,
            model=pool.model,
            checkpoint=_ELSEWHERE,
            scaling=ScalingSettings(target_in_flight=pool.target),
            gateway=pool.gateway,
        )
        for pool in front.pools
    )
    return _checked({"gateway": front.gateway.model_copy(update=bound), "plans": front.plans, "pools": pools})


def front_from(data: Any) -> FrontSettings:
    """What `written` made of it. Raises `ValueError`, in one sentence, where it is something else."""
    try:
        return FrontSettings.model_validate(data)
    except ValidationError as error:
        raise ValueError(_sentence(error)) from error


def written(section: BaseModel) -> dict[str, Any]:
    """As it would stand in the file, with units; JSON can hold it."""
    return {
        name: _written(getattr(section, name), is_size=_IS_SIZE in field.metadata)
        for name, field in type(section).model_fields.items()
    }


def _written(value: Any, *, is_size: bool = False) -> Any:
    if isinstance(value, BaseModel):
        return written(value)
    if isinstance(value, tuple):
        return [_written(item) for item in value]
    if isinstance(value, timedelta):
        return _duration(value)
    if is_size and isinstance(value, int):
        return f"{value // _MIB}MiB" if value % _MIB == 0 else f"{value / _MIB:.20f}MiB"
    return value


def _duration(value: timedelta) -> str:
    micros = round(value / timedelta(microseconds=1))
    if micros % 1_000_000 == 0:
        return f"{micros // 1_000_000}s"
    return f"{micros // 1000}.{micros % 1000:03d}ms".replace(".000ms", "ms")


def _pool(pool: PoolSettings) -> FrontPool:
    target = pool.scaling.target_in_flight or pool.scaling.in_flight.target
    return FrontPool(name=pool.name, model=pool.model, target=target, gateway=pool.gateway)


def _checked(parts: dict[str, Any]) -> Settings:
    try:
        return Settings(**parts)
    except ValidationError as error:
        raise ValueError(_sentence(error)) from error


def _sentence(error: ValidationError) -> str:
    fault = error.errors()[0]
    place = ".".join(map(str, fault["loc"]))
    message = str(fault["msg"]).removeprefix("Value error, ")
    return f"{place}: {message}" if place else message
