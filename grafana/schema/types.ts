// What the dashboards are checked against: Grafana's own types, gathered under names of ours.
// They are those of @grafana/schema, in the version that package-lock.json pins.

import type * as bargauge from './node_modules/@grafana/schema/dist/types/raw/composable/bargauge/panelcfg/x/types.gen';
import type * as stat from './node_modules/@grafana/schema/dist/types/raw/composable/stat/panelcfg/x/types.gen';
import type * as table from './node_modules/@grafana/schema/dist/types/raw/composable/table/panelcfg/x/types.gen';
import type * as text from './node_modules/@grafana/schema/dist/types/raw/composable/text/panelcfg/x/types.gen';
import type * as timeseries from './node_modules/@grafana/schema/dist/types/raw/composable/timeseries/panelcfg/x/types.gen';
import type * as raw from './node_modules/@grafana/schema/dist/types/raw/dashboard/x/types.gen';

// An annotation is open to what its data source's plugin reads; these are the fields of Prometheus's.
interface Mark extends raw.AnnotationQuery {
  expr: string;
  step?: string;
  textFormat?: string;
  titleFormat?: string;
  useValueForTime?: boolean;
}

export type Dashboard = Omit<raw.Dashboard, 'annotations'> & { annotations: { list: Mark[] } };
export type BarGaugeOptions = bargauge.Options;
export type StatOptions = stat.Options;
export type TableOptions = table.Options;
export type TableFieldConfig = table.FieldConfig;
export type TextOptions = text.Options;
export type TimeSeriesOptions = timeseries.Options;
export type TimeSeriesFieldConfig = timeseries.FieldConfig;
