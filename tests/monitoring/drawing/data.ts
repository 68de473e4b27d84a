// From a panel's queries to the frames that are drawn: what Grafana's data source would ask, asked
// of Prometheus directly.  A range is cut into steps, and the variables are replaced, as there.

import {
  type DataFrame,
  type TimeRange,
  FieldType,
  dateTime,
  rangeUtil,
  standardTransformers,
  standardTransformersRegistry,
  toDataFrame,
  transformDataFrame,
} from '@grafana/data';
import { firstValueFrom } from 'rxjs';

export interface Scene {
  prometheus: string;
  now: number; // all times in seconds
  range: number;
  scrape: number;
  instance: string;
}

const DAYS: Record<string, number> = { s: 1, m: 60, h: 3600, d: 86400 };

standardTransformersRegistry.setInit(() =>
  [standardTransformers.mergeTransformer, standardTransformers.organizeFieldsTransformer].map(
    (each: any) => ({ id: each.id, name: each.name, transformation: async () => each }) as any
  )
);

export function seconds(span: string): number {
  return parseInt(span) * DAYS[span.slice(-1)];
}

export function rangeOf(panel: any, scene: Scene): TimeRange {
  const width = panel.timeFrom ? seconds(panel.timeFrom) : scene.range;
  const [from, to] = [dateTime((scene.now - width) * 1000), dateTime(scene.now * 1000)];
  return { from, to, raw: { from, to } };
}

function stepOf(panel: any, range: TimeRange, points: number, scene: Scene): number {
  const least = panel.interval ?? `${scene.scrape}s`;
  return rangeUtil.calculateInterval(range, points, least).intervalMs / 1000;
}

function worded(expression: string, range: TimeRange, step: number, scene: Scene): string {
  const scrape = scene.scrape;
  const width = Math.round((+range.to - +range.from) / 1000);
  const values: Record<string, string> = {
    __rate_interval: `${Math.max(step + scrape, 4 * scrape)}s`,
    __interval: `${step}s`,
    __range: `${width}s`,
    job: '.+',
    instance: scene.instance,
  };
  return expression.replace(/\$\{?(\w+)\}?/g, (whole, name) => values[name] ?? whole);
}

async function asked(path: string, parameters: Record<string, any>, scene: Scene): Promise<any[]> {
  const address = new URL(`${scene.prometheus}/api/v1/${path}`);
  Object.entries(parameters).forEach(([key, value]) => address.searchParams.set(key, `${value}`));
  const answer = await (await fetch(address)).json();
  if (answer.status !== 'success') {
    throw new Error(answer.error);
  }
  return answer.data.result;
}

function answered(target: any, range: TimeRange, step: number, scene: Scene): Promise<any[]> {
  const query = worded(target.expr, range, step, scene);
  const [start, end] = [+range.from / 1000, +range.to / 1000];
  if (target.instant) {
    return asked('query', { query, time: end }, scene);
  }
  const floor = (time: number) => Math.floor(time / step) * step;
  return asked('query_range', { query, start: floor(start), end: floor(end), step }, scene);
}

function legend(format: string, labels: Record<string, string>): string {
  if (format === '__auto') {
    const values = Object.values(labels);
    return values.length === 1 ? values[0] : JSON.stringify(labels);
  }
  return format.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, name) => labels[name] ?? '');
}

// The interval shows a chart where points are missing.
function seriesFrame(target: any, series: any, step: number): DataFrame {
  const values = series.values ?? [series.value];
  const name = legend(target.legendFormat ?? '__auto', series.metric);
  return toDataFrame({
    refId: target.refId,
    name,
    fields: [
      {
        name: 'Time',
        type: FieldType.time,
        config: target.instant ? {} : { interval: step * 1000 },
        values: values.map((v: any) => v[0] * 1000),
      },
      {
        name: 'Value',
        type: FieldType.number,
        labels: series.metric,
        config: { displayNameFromDS: name },
        values: values.map((v: any) => parseFloat(v[1])),
      },
    ],
  });
}

function tableFrame(target: any, result: any[], alone: boolean): DataFrame {
  const names = [...new Set(result.flatMap((series) => Object.keys(series.metric)))];
  const value = alone ? 'Value' : `Value #${target.refId}`;
  return toDataFrame({
    refId: target.refId,
    fields: [
      { name: 'Time', type: FieldType.time, values: result.map((s) => s.value[0] * 1000) },
      ...names.map((name) => ({
        name,
        type: FieldType.string,
        values: result.map((s) => s.metric[name]),
      })),
      { name: value, type: FieldType.number, values: result.map((s) => parseFloat(s.value[1])) },
    ],
  });
}

// A panel's frames.  A query that answers nothing at all is known by its letter.
export async function framesOf(panel: any, width: number, scene: Scene) {
  const range = rangeOf(panel, scene);
  const step = stepOf(panel, range, width, scene);
  const empty: string[] = [];
  const frames = await Promise.all(
    panel.targets.map(async (target: any) => {
      const result = await answered(target, range, step, scene);
      const points = result.flatMap((series) => series.values ?? [series.value]);
      if (!points.some((point) => Number.isFinite(parseFloat(point[1])))) {
        empty.push(target.refId);
      }
      return target.format === 'table'
        ? [tableFrame(target, result, panel.targets.length === 1)]
        : result.map((series) => seriesFrame(target, series, step));
    })
  );
  const drawn = await firstValueFrom(transformDataFrame(panel.transformations ?? [], frames.flat()));
  return { frames: drawn, empty };
}

// When what a dashboard marks happened, in milliseconds; the value of a series is the moment.
export async function marksOf(dashboard: any, scene: Scene) {
  const range = rangeOf({}, scene);
  const shown = dashboard.annotations.list.filter((mark: any) => mark.enable);
  const marks = shown.map(async (mark: any) => {
    const result = await answered({ expr: mark.expr, instant: true }, range, 60, scene);
    return result.map((series) => ({ ...mark, time: parseFloat(series.value[1]) }));
  });
  return (await Promise.all(marks)).flat();
}
