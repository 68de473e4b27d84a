"""Kinds of panels, each with what all panels of that kind share.

Every panel has a title, a description that says what to do, and a unit.  ``queries`` are in the
order of the legend.
"""

import warnings
from collections.abc import Mapping, Sequence
from typing import TypeAlias, TypeVar

with warnings.catch_warnings():
    # The library prefers the schema that only the newest Grafana reads.
    warnings.simplefilter("ignore", DeprecationWarning)
    from grafana_foundation_sdk.builders import bargauge, stat, table, text, timeseries
    from grafana_foundation_sdk.builders import common as part
    from grafana_foundation_sdk.builders import dashboard as board
    from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.cog import variants
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common, dashboard
from grafana_foundation_sdk.models.prometheus import PromQueryFormat
from grafana_foundation_sdk.models.text import TextMode

SOURCE = common.DataSourceRef(type_val="prometheus", uid="${datasource}")
GOOD, WARN, BAD, PLAIN = "green", "orange", "red", "text"
COUNT = "locale"
"""The unit of what is counted and shown to the last digit."""
Steps = Sequence[tuple[float | None, str]]
"""From which value on which colour; the first from None."""
Figure: TypeAlias = stat.Panel
Chart: TypeAlias = timeseries.Panel
Bars: TypeAlias = bargauge.Panel
Columns: TypeAlias = table.Panel
NEUTRAL: Steps = ((None, "blue"),)
ABOVE_ZERO: Steps = ((None, GOOD), (1, BAD))


# Queries ---------------------------------------------------------------------------------------


def over_time(expression: str, legend: str = "") -> Dataquery:
    """Return a query for a line in a chart."""
    return Dataquery().expr(expression).legend_format(legend or "__auto").range()


def at_the_end(expression: str, legend: str = "") -> Dataquery:
    """Return a query for the value at the end of the range."""
    return Dataquery().expr(expression).legend_format(legend or "__auto").instant()


def rows(expression: str) -> Dataquery:
    """Return a query for a column of a table, with a row for each series."""
    return at_the_end(expression).format(PromQueryFormat.TABLE)


def _asked(queries: Sequence[Dataquery]) -> list[Builder[variants.Dataquery]]:
    return [query.ref_id(chr(ord("A") + n)).datasource(SOURCE) for n, query in enumerate(queries)]


# How it looks ----------------------------------------------------------------------------------


def thresholds(steps: Steps) -> board.ThresholdsConfig:
    """Colours by value."""
    made = [dashboard.Threshold(value=value, color=color) for value, color in steps]
    return board.ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE).steps(made)


def in_words(words: Mapping[int, tuple[str, str]]) -> list[dashboard.ValueMapping]:
    """Words instead of numbers, with their colours."""
    results = {
        str(value): dashboard.ValueMappingResult(text=word, color=color, index=n)
        for n, (value, (word, color)) in enumerate(words.items())
    }
    return [dashboard.ValueMap(options=results)]


def setting(name: str, value: object) -> dashboard.DynamicConfigValue:
    """One property of a column or series that differs from the panel's."""
    return dashboard.DynamicConfigValue(id_val=name, value=value)


def coloured(color: str) -> dashboard.DynamicConfigValue:
    """Give a series a colour of its own."""
    return setting("color", {"mode": "fixed", "fixedColor": color})


def _now(fields: str = "") -> part.ReduceDataOptions:
    return part.ReduceDataOptions().calcs(["lastNotNull"]).fields(fields).values(False)


def _legend(figures: Sequence[str]) -> part.VizLegendOptions:
    how, where = common.LegendDisplayMode.LIST, common.LegendPlacement.BOTTOM
    made = part.VizLegendOptions().show_legend(True).display_mode(how).placement(where)
    return made.calcs(list(figures))


def _tooltip() -> part.VizTooltipOptions:
    many = common.TooltipDisplayMode.MULTI
    return part.VizTooltipOptions().mode(many).sort(common.SortOrder.DESCENDING)


# The kinds -------------------------------------------------------------------------------------

_Panel = TypeVar("_Panel", stat.Panel, timeseries.Panel, bargauge.Panel, table.Panel)


def _panel(
    kind: type[_Panel], title: str, description: str, unit: str, queries: Sequence[Dataquery]
) -> _Panel:
    panel = kind().title(title).description(description).unit(unit)
    return panel.datasource(SOURCE).targets(_asked(queries))


def number(
    title: str,
    description: str,
    unit: str,
    *queries: Dataquery,
    steps: Steps = NEUTRAL,
    words: Mapping[int, tuple[str, str]] | None = None,
) -> stat.Panel:
    """A figure, or several below each other, coloured by whether it is good."""
    panel = (
        _panel(stat.Panel, title, description, unit, queries)
        .thresholds(thresholds(steps))
        .color_scheme(board.FieldColor().mode(dashboard.FieldColorModeId.THRESHOLDS))
        .reduce_options(_now())
        .orientation(common.VizOrientation.HORIZONTAL)
        .color_mode(common.BigValueColorMode.VALUE)
        .graph_mode(common.BigValueGraphMode.NONE)
        .justify_mode(common.BigValueJustifyMode.CENTER)
    )
    return panel.mappings(in_words(words)) if words else panel


def name(title: str, description: str, *queries: Dataquery) -> stat.Panel:
    """The name of a series instead of its value."""
    mode = common.BigValueTextMode.NAME
    return number(title, description, "none", *queries, steps=((None, PLAIN),)).text_mode(mode)


def lines(
    title: str,
    description: str,
    unit: str,
    *queries: Dataquery,
    colors: Mapping[str, str] | None = None,
    figures: Sequence[str] = ("lastNotNull", "max"),
) -> timeseries.Panel:
    """Lines over time, from zero, with the last and the highest value in the legend, or others."""
    panel = (
        _panel(timeseries.Panel, title, description, unit, queries)
        .min(0)
        .color_scheme(board.FieldColor().mode(dashboard.FieldColorModeId.PALETTE_CLASSIC))
        .legend(_legend(figures))
        .tooltip(_tooltip())
        .line_width(2)
        .fill_opacity(12)
        .show_points(common.VisibilityMode.AUTO)
    )
    for series, color in (colors or {}).items():
        panel.override_by_name(series, [coloured(color)])
    return panel


def by_day(title: str, description: str, unit: str, *queries: Dataquery) -> timeseries.Panel:
    """Bars, one for each day of half a year; the last is today's, so far."""
    return (
        lines(title, description, unit, *queries, figures=())
        .interval("1d")
        .time_from("180d")
        .draw_style(common.GraphDrawStyle.BARS)
        .bar_alignment(common.BarAlignment.AFTER)
        .bar_width_factor(0.8)
        .line_width(0)
        .fill_opacity(80)
    )


def stacked(panel: timeseries.Panel) -> timeseries.Panel:
    """Stack the series."""
    how = part.StackingConfig().mode(common.StackingMode.NORMAL).group("A")
    return panel.stacking(how).fill_opacity(60).line_width(1)


def bars(
    title: str, description: str, unit: str, *queries: Dataquery, steps: Steps = NEUTRAL
) -> bargauge.Panel:
    """A bar for each series, named on its left."""
    return (
        _panel(bargauge.Panel, title, description, unit, queries)
        .min(0)
        .thresholds(thresholds(steps))
        .color_scheme(board.FieldColor().mode(dashboard.FieldColorModeId.THRESHOLDS))
        .reduce_options(_now())
        .orientation(common.VizOrientation.HORIZONTAL)
        .display_mode(common.BarGaugeDisplayMode.BASIC)
        .value_mode(common.BarGaugeValueMode.TEXT)
        .name_placement(common.BarGaugeNamePlacement.LEFT)
        .show_unfilled(True)
        .sizing(common.BarGaugeSizing.MANUAL)
        .min_viz_height(16)
        .max_viz_height(28)
        .text(part.VizTextDisplayOptions().title_size(13).value_size(16))
    )


def columns(
    title: str,
    description: str,
    *queries: Dataquery,
    names: Mapping[str, str],
    first: str,
    hidden: Sequence[str] = (),
) -> table.Panel:
    """A table, one row for each combination of labels.

    Args:
        title: of the panel.
        description: of the panel.
        queries: a column each, named ``Value #A`` and so on until it is renamed.
        names: what each label and value is called, in the order of the columns.
        first: the column that is sorted by, from the largest.
        hidden: what is not shown.
    """
    organized = {
        "excludeByName": dict.fromkeys(["Time", *hidden], True),
        "indexByName": {label: n for n, label in enumerate(names)},
        "renameByName": dict(names),
    }
    return (
        _panel(table.Panel, title, description, "short", queries)
        .transformations(
            [
                dashboard.DataTransformerConfig(id_val="merge", options={}),
                dashboard.DataTransformerConfig(id_val="organize", options=organized),
            ]
        )
        .thresholds(thresholds(((None, PLAIN),)))
        .show_header(True)
        .cell_options(common.TableAutoCellOptions())
        .min_width(70)
        .cell_height(common.TableCellHeight.SM)
        .sort_by([part.TableSortByFieldState().display_name(first).desc(True)])
    )


def note(title: str, description: str, words: str) -> text.Panel:
    """A fixed text."""
    return text.Panel().title(title).description(description).mode(TextMode.MARKDOWN).content(words)
