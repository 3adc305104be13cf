"""What the boards share around their panels: variables, annotations, links, and the numbers of the panels."""

from __future__ import annotations

from dataclasses import dataclass

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as models

from dashboards.grafana.panels import BAD, SOURCE

SOURCE_UID = "stoker-prometheus"  # what provisioning calls it
_TAG = "stoker"
_STEP = "10s"  # of annotations; Grafana takes a longer one where the range is long
_VARIABLE = "PrometheusVariableQueryEditor-VariableQuery"  # as Grafana's own editor names it

Variable = Builder[models.VariableModel]
Panel = Builder[models.Panel]


@dataclass(frozen=True, slots=True)
class Row:
    """A heading and what stands below it, from left to right."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Board:
    """One board. `uid` is in its address, so it stays what it is."""

    uid: str
    title: str
    description: str
    variables: tuple[Variable, ...]
    rows: tuple[Row, ...]
    annotations: tuple[models.AnnotationQuery, ...] = ()

    def build(self) -> models.Dashboard:
        """As Grafana's JSON has it. Equal boards give equal values."""
        made = dashboard.Dashboard(self.title).uid(self.uid).description(self.description).tags([_TAG])
        made.time("now-1h", "now").refresh("10s").tooltip(models.DashboardCursorSync.CROSSHAIR).timezone("browser")
        made.variables([_source(), *self.variables]).link(_others())
        for row in self.rows:
            made.with_row(dashboard.Row(row.title))
            for panel in row.panels:
                made.with_panel(panel)
        built = made.build()
        built.annotations.list_val = list(self.annotations)
        for number, placed in enumerate(built.panels or (), 1):
            placed.id_val = number
        return built


class Event(models.AnnotationQuery):
    """An annotation out of Prometheus: a mark wherever `expr` has a sample that is not 0.

    The SDK's model knows none of the three texts that Prometheus's plug-in reads beside it.
    """

    def __init__(self, expr: str, title: str, text: str, *, name: str = "", color: str = BAD) -> None:
        super().__init__(name=name, datasource=SOURCE, enable=True, hide=False, icon_color=color, expr=expr)
        self._title, self._text = title, text

    def to_json(self) -> dict[str, object]:
        """The SDK's, and what it leaves out."""
        return {**super().to_json(), "titleFormat": self._title, "textFormat": self._text, "step": _STEP}


def choice(name: str, label: str, query: str, *, all_value: str | None = None) -> Variable:
    """A variable of several values out of Prometheus, all of them at first.

    `all_value` is a regular expression that stands for all, also for what has no such label; without it, all is each
    of the values.
    """
    made = dashboard.QueryVariable(name).label(label).datasource(SOURCE).query({"query": query, "refId": _VARIABLE})
    made.multi(True).include_all(True).sort(models.VariableSort.ALPHABETICAL_ASC)
    made.refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
    made.current(models.VariableOption(selected=True, text=["All"], value=["$__all"]))
    return made if all_value is None else made.all_value(all_value)


def entry(name: str, label: str, value: str) -> Variable:
    """A variable that a person types in."""
    current = models.VariableOption(selected=True, text=value, value=value)
    return dashboard.TextBoxVariable(name).label(label).default_value(value).current(current).options([current])


def _source() -> Variable:
    current = models.VariableOption(selected=True, text="Stoker Prometheus", value=SOURCE_UID)
    return dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus").current(current)


def _others() -> Builder[models.DashboardLink]:
    link = dashboard.DashboardLink("Stoker").type(models.DashboardLinkType.DASHBOARDS).tags([_TAG])
    return link.as_dropdown(True).keep_time(True).include_vars(True)
