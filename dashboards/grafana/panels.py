"""Panels as all boards draw them: what it asks, in one sentence how to read it, its unit, its queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from grafana_foundation_sdk.builders import (
    alertgroups,
    common,
    dashboard,
    heatmap,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery as AnyQuery
from grafana_foundation_sdk.models import common as options
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
ALERTMANAGER = "Stoker Alertmanager"  # a panel of alerts takes the name of its source; provisioning gives this one
GOOD, WARN, BAD, CALM, OFF = "green", "orange", "red", "blue", "transparent"
_HEIGHT = 8
_CALM_STEP = "15s"  # of rates, at least: Grafana's own would be four scrapes, in which few requests end


@dataclass(frozen=True, slots=True)
class Text:
    """What a person reads of a panel, Grafana's word for its unit, and its width of 24 columns."""

    title: str
    description: str
    unit: str = "short"
    width: int = 12
    height: int = _HEIGHT

    def sized(self, width: int, height: int) -> Text:
        """The same in another size."""
        return replace(self, width=width, height=height)


@dataclass(frozen=True, slots=True)
class Query:
    """PromQL, and the name of what comes of it, in which `{{label}}` stands for the label's value."""

    expr: str
    name: str = ""
    limit: bool = False  # a line that others are measured by


@dataclass(frozen=True, slots=True)
class Steps:
    """Colours of a number: the value from which it is worth a look, and the one from which it is bad.

    Where `bad` is the smaller one, small numbers are bad.
    """

    warn: float
    bad: float

    def build(self) -> Builder[models.ThresholdsConfig]:
        """As Grafana has it: the colour of each range, from the lowest."""
        rising = self.bad >= self.warn
        low, high = sorted((self.warn, self.bad))
        steps = [models.Threshold(value=None, color=GOOD if rising else BAD)]
        if low < high:
            steps.append(models.Threshold(value=low, color=WARN))
        steps.append(models.Threshold(value=high, color=BAD if rising else GOOD))
        return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps)


class _Panel(Protocol):
    """What the SDK's builders of panels have in common, which it names nowhere."""

    def title(self, title: str) -> object: ...
    def description(self, description: str) -> object: ...
    def unit(self, unit: str) -> object: ...
    def datasource(self, datasource: models.DataSourceRef) -> object: ...
    def with_target(self, target: Builder[AnyQuery]) -> object: ...
    def span(self, w: int) -> object: ...
    def height(self, h: int) -> object: ...


P = TypeVar("P", bound=_Panel)


def lines(text: Text, *queries: Query, stacked: bool = False, most: float | None = None) -> timeseries.Panel:
    """Curves over time from 0 on; limits are drawn dashed in red. `most` is the top of the scale."""
    panel = _fill(timeseries.Panel(), text, queries, instant=False)
    panel.min(0).line_width(1.0).fill_opacity(40.0 if stacked else 8.0).show_points(options.VisibilityMode.NEVER)
    panel.legend(_legend()).tooltip(_tooltip())
    if most is not None:
        panel.max(most)
    if stacked:
        panel.stacking(common.StackingConfig().mode(options.StackingMode.NORMAL).group("A"))
    for number, query in enumerate(queries):
        if query.limit:
            panel.override_by_query(_ref(number), _as_limit())
    return panel


def bars(text: Text, *queries: Query) -> timeseries.Panel:
    """Counts of events: a stacked bar for each moment, none where nothing happened."""
    panel = _fill(timeseries.Panel(), text, queries, instant=False)
    panel.min(0).draw_style(options.GraphDrawStyle.BARS).fill_opacity(80.0).line_width(0.0)
    panel.stacking(common.StackingConfig().mode(options.StackingMode.NORMAL).group("A"))
    return panel.legend(_legend()).tooltip(_tooltip())


def number(text: Text, *queries: Query, steps: Steps | None = None, decimals: int | None = None) -> stat.Panel:
    """One value for each series, as it is at the end of the range; coloured where `steps` say so."""
    panel = _fill(stat.Panel(), text, queries, instant=True)
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
    panel.graph_mode(options.BigValueGraphMode.NONE)
    if decimals is not None:
        panel.decimals(decimals)
    if steps is None:
        return panel.color_mode(options.BigValueColorMode.NONE)
    return panel.thresholds(steps.build()).color_mode(options.BigValueColorMode.VALUE)


def heat(text: Text, expr: str) -> heatmap.Panel:
    """How a histogram moves: `expr` gives its increase by `le`. The unit is that of the axis."""
    panel = heatmap.Panel()
    _write(panel, text).datasource(SOURCE)
    panel.with_target(_query(0, Query(expr, "{{le}}")).format(PromQueryFormat.HEATMAP).range())
    panel.calculate(False).cell_gap(1).show_legend().show_tooltip()
    panel.scale_distribution(common.ScaleDistributionConfig().type(options.ScaleDistribution.LINEAR))
    panel.color(heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Oranges").steps(64))
    return panel.y_axis(heatmap.YAxisConfig().unit(text.unit).axis_placement(options.AxisPlacement.LEFT))


def states(text: Text, query: Query, color: str = CALM) -> statetimeline.Panel:
    """A bar for each series, in that colour for as long as it is 1, and nothing while it is 0 or absent."""
    panel = _fill(statetimeline.Panel(), text, (query,), instant=False)
    colours = [models.Threshold(value=None, color=OFF), models.Threshold(value=1, color=color)]
    panel.thresholds(dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(colours))
    panel.show_value(options.VisibilityMode.NEVER).merge_values(True).fill_opacity(70).line_width(0)
    return panel.legend(common.VizLegendOptions().show_legend(False)).tooltip(_tooltip())


def grid(text: Text, columns: Mapping[str, Query], units: Mapping[str, str], key: Sequence[str]) -> table.Panel:
    """A row for each combination of the labels `key`, and a column for each query by its name; `units` of those."""
    panel = table.Panel()
    _write(panel, text).datasource(SOURCE)
    for number, query in enumerate(columns.values()):
        panel.with_target(_query(number, query).format(PromQueryFormat.TABLE).instant())
    shown = [*key, *(_field(place, len(columns)) for place in range(len(columns)))]
    names = {_field(place, len(columns)): name for place, name in enumerate(columns)}
    panel.with_transformation(models.DataTransformerConfig(id_val="merge", options={}))
    panel.with_transformation(
        models.DataTransformerConfig(id_val="filterFieldsByName", options={"include": {"names": shown}})
    )
    order = {field: place for place, field in enumerate(shown)}
    panel.with_transformation(
        models.DataTransformerConfig(id_val="organize", options={"indexByName": order, "renameByName": names})
    )
    for name, unit in units.items():
        panel.override_by_name(name, [models.DynamicConfigValue(id_val="unit", value=unit)])
    return panel.show_header(True)


def alerts(text: Text) -> alertgroups.Panel:
    """What Alertmanager holds, in its groups, with what is silenced."""
    panel = alertgroups.Panel()
    _write(panel, text)
    return panel.alertmanager(ALERTMANAGER).expand_all(False)


def _fill(panel: P, text: Text, queries: Sequence[Query], *, instant: bool) -> P:
    """The panel with its words and queries, from the data source that the board's variable names."""
    _write(panel, text).datasource(SOURCE)
    for number, query in enumerate(queries):
        asked = _query(number, query)
        panel.with_target(asked.instant() if instant else asked.range())
    return panel


def _write(panel: P, text: Text) -> P:
    panel.title(text.title)
    panel.description(text.description)
    panel.unit(text.unit)
    panel.span(text.width)
    panel.height(text.height)
    return panel


def _query(number: int, query: Query) -> Dataquery:
    asked = Dataquery().ref_id(_ref(number)).datasource(SOURCE).expr(query.expr).legend_format(query.name or "__auto")
    return asked.interval(_CALM_STEP) if "$__rate_interval" in query.expr else asked


def _ref(number: int) -> str:
    return chr(ord("A") + number)


def _field(place: int, count: int) -> str:
    """What Grafana calls the value of a table's query: with its letter, where there are several."""
    return "Value" if count == 1 else f"Value #{_ref(place)}"


def _legend() -> common.VizLegendOptions:
    shown = common.VizLegendOptions().show_legend(True).placement(options.LegendPlacement.BOTTOM)
    return shown.display_mode(options.LegendDisplayMode.LIST)


def _tooltip() -> common.VizTooltipOptions:
    return common.VizTooltipOptions().mode(options.TooltipDisplayMode.MULTI).sort(options.SortOrder.DESCENDING)


def _as_limit() -> list[models.DynamicConfigValue]:
    return [
        models.DynamicConfigValue(id_val="color", value={"mode": "fixed", "fixedColor": BAD}),
        models.DynamicConfigValue(id_val="custom.lineStyle", value={"fill": "dash", "dash": [8, 8]}),
        models.DynamicConfigValue(id_val="custom.fillOpacity", value=0),
        models.DynamicConfigValue(id_val="custom.stacking", value={"mode": "none"}),
    ]
