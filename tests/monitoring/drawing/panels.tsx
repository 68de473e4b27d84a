// The kinds of panels, put together from Grafana's UI library as its own panels are.

import React from 'react';
import {
  type DataFrame,
  type GrafanaTheme2,
  type TimeRange,
  FieldConfigOptionsRegistry,
  FieldConfigProperty,
  FieldType,
  VizOrientation,
  applyFieldOverrides,
  cacheFieldDisplayNames,
  getDisplayValueAlignmentFactors,
  getFieldDisplayValues,
  identityOverrideProcessor,
  renderTextPanelMarkdown,
} from '@grafana/data';
import { BarGauge, BigValue, TimeSeries, VizRepeater } from '@grafana/ui';
import { TableNG } from '@grafana/ui/unstable';

interface Drawn {
  panel: any;
  frames: DataFrame[];
  range: TimeRange;
  marks: any[];
  theme: GrafanaTheme2;
  width: number;
  height: number;
}

const CUSTOM = [
  'align', 'axisPlacement', 'axisSoftMin', 'barAlignment', 'barWidthFactor', 'cellOptions',
  'drawStyle', 'fillOpacity', 'gradientMode', 'hideFrom', 'lineInterpolation', 'lineStyle',
  'lineWidth', 'minWidth', 'pointSize', 'scaleDistribution', 'showPoints', 'spanNulls', 'stacking',
  'thresholdsStyle', 'width',
];

const registry = new FieldConfigOptionsRegistry();
registry.setInit(() => [
  ...Object.values(FieldConfigProperty).map((id) => property(id, id, false)),
  ...CUSTOM.map((name) => property(`custom.${name}`, name, true)),
]);

function property(id: string, path: string, isCustom: boolean): any {
  return {
    id, path, isCustom, name: id, settings: {},
    editor: () => null,
    override: () => null,
    process: identityOverrideProcessor,
    shouldApply: (field: any) => !isCustom || field.type !== FieldType.time,
  };
}

const same = (words: any) => words;

function dressed({ panel, frames, theme }: Drawn): DataFrame[] {
  const dressed = applyFieldOverrides({
    data: frames,
    fieldConfig: panel.fieldConfig,
    fieldConfigRegistry: registry,
    replaceVariables: same,
    theme,
    timeZone: 'utc',
  });
  cacheFieldDisplayNames(dressed);
  return dressed;
}

function values(drawn: Drawn): any[] {
  return getFieldDisplayValues({
    fieldConfig: drawn.panel.fieldConfig,
    reduceOptions: drawn.panel.options.reduceOptions,
    replaceVariables: same,
    theme: drawn.theme,
    data: dressed(drawn),
    timeZone: 'utc',
  });
}

function Stat(drawn: Drawn) {
  const { panel, theme, width, height } = drawn;
  const all = values(drawn);
  const { textMode, colorMode, graphMode, justifyMode, orientation } = panel.options;
  const mode = textMode === 'auto' ? (all.length > 1 ? 'value_and_name' : 'value') : textMode;
  return (
    <VizRepeater
      source={drawn.frames}
      renderCounter={0}
      orientation={orientation}
      itemSpacing={3}
      width={width}
      height={height}
      getValues={() => all}
      getAlignmentFactors={getDisplayValueAlignmentFactors as any}
      renderValue={({ value, alignmentFactors, width: w, height: h, count }: any) => (
        <BigValue
          value={value.display}
          count={count}
          width={w}
          height={h}
          theme={theme}
          colorMode={colorMode}
          graphMode={graphMode}
          justifyMode={justifyMode}
          textMode={mode}
          alignmentFactors={alignmentFactors}
        />
      )}
    />
  );
}

function Bars(drawn: Drawn) {
  const { panel, theme, width, height } = drawn;
  const { displayMode, minVizHeight, maxVizHeight, namePlacement, showUnfilled, text, valueMode } = panel.options;
  const all = values(drawn);
  const max = Math.max(...all.map((each) => each.display.numeric));
  return (
    <VizRepeater
      source={drawn.frames}
      renderCounter={0}
      orientation={VizOrientation.Horizontal}
      itemSpacing={8}
      minVizHeight={minVizHeight}
      maxVizHeight={maxVizHeight}
      width={width}
      height={height}
      getValues={() => all}
      getAlignmentFactors={getDisplayValueAlignmentFactors as any}
      renderValue={({ value, alignmentFactors, width: w, height: h }: any) => (
        <BarGauge
          value={value.display}
          width={w}
          height={h}
          theme={theme}
          field={{ ...value.field, max: value.field.max ?? max }}
          display={value.view?.getFieldDisplayProcessor(value.colIndex)}
          orientation={VizOrientation.Horizontal}
          displayMode={displayMode}
          valueDisplayMode={valueMode}
          namePlacement={namePlacement}
          showUnfilled={showUnfilled}
          text={text}
          alignmentFactors={alignmentFactors}
        />
      )}
    />
  );
}

// The library's chart knows no annotations; a dashed line stands where Grafana has one, too.
function marking(marks: any[], theme: GrafanaTheme2) {
  return (builder: any) => {
    builder.addHook('draw', (plot: any) => {
      const { ctx, bbox } = plot;
      for (const mark of marks) {
        const x = Math.round(plot.valToPos(mark.time, 'x', true));
        if (x < bbox.left || x > bbox.left + bbox.width) {
          continue;
        }
        ctx.save();
        ctx.strokeStyle = theme.visualization.getColorByName(mark.iconColor);
        ctx.lineWidth = 2 * devicePixelRatio;
        ctx.setLineDash([6, 4]);
        ctx.beginPath();
        ctx.moveTo(x, bbox.top);
        ctx.lineTo(x, bbox.top + bbox.height);
        ctx.stroke();
        ctx.restore();
      }
    });
    return null;
  };
}

// What is no number is a gap.
function graphable(frames: DataFrame[]): DataFrame[] {
  return frames.map((frame) => ({
    ...frame,
    fields: frame.fields.map((field) => ({
      ...field,
      values: field.values.map((value) => (Number.isFinite(value) ? value : null)),
    })),
  }));
}

function Chart(drawn: Drawn) {
  const { panel, range, marks, theme, width, height } = drawn;
  return (
    <TimeSeries
      frames={dressed({ ...drawn, frames: graphable(drawn.frames) })}
      width={width}
      height={height}
      timeRange={range}
      timeZone="utc"
      legend={panel.options.legend}
      options={panel.options}
    >
      {marking(marks, theme)}
    </TimeSeries>
  );
}

function Rows(drawn: Drawn) {
  const { panel, range, width, height } = drawn;
  const [frame] = dressed(drawn);
  return (
    <TableNG
      {...({} as any)}
      data={frame}
      width={width}
      height={height}
      timeRange={range}
      cellHeight={panel.options.cellHeight}
      sortBy={panel.options.sortBy}
      fieldConfig={panel.fieldConfig}
      sortByBehavior="initial"
      structureRev={1}
    />
  );
}

function Text({ panel }: Drawn) {
  const html = renderTextPanelMarkdown(panel.options.content);
  return <div className="markdown-html" dangerouslySetInnerHTML={{ __html: html }} />;
}

const KINDS: Record<string, (drawn: Drawn) => React.ReactElement> = {
  bargauge: Bars,
  stat: Stat,
  table: Rows,
  text: Text,
  timeseries: Chart,
};

export function Kind(drawn: Drawn) {
  const Known = KINDS[drawn.panel.type];
  if (!Known) {
    throw new Error(`no kind of panel here: ${drawn.panel.type}`);
  }
  return <Known {...drawn} />;
}
