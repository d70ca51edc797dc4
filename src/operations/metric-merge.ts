import { Registry, type MetricObjectWithValues, type MetricValue } from 'prom-client';

/** What one process counts: a registry's metrics as data, which may travel between processes. */
export type MetricSnapshot = readonly MetricObjectWithValues<MetricValue<string>>[];

/** Takes a snapshot of a registry. */
export async function takeSnapshot(registry: Registry): Promise<MetricSnapshot> {
  return await registry.getMetricsAsJSON();
}

/** What the processes of one replica count, together. */
export interface MetricTotals {
  /** What this one knows of the process `id` is this from now on. */
  learn(id: number, snapshot: MetricSnapshot): void;
  /** The process is gone. What it has counted stays, or every counter would go backwards. */
  retire(id: number): void;
  /** The page of all of them. @param own what the process that merges counts itself */
  page(own: MetricSnapshot): Promise<string>;
}

type Reading = (values: readonly number[]) => number;
const sum: Reading = (values) => values.reduce((total, value) => total + value, 0);
const most: Reading = (values) => Math.max(...values);
const least: Reading = (values) => Math.min(...values);

/** What belongs to the replica, not to its processes: told by the one that merges. */
const ownMetrics = /^(sallyport_config_|process_start_time_seconds$)/;

/** How a gauge of several processes reads as one; most are amounts, and add up. */
const gauges: readonly (readonly [RegExp, Reading])[] = [
  // What is up for some only is not up.
  [/^sallyport_.*_up$/, least],
  [/_info$/, most],
  // One process that is stuck must not drown in an average.
  [/^nodejs_eventloop_lag_min_/, least],
  [/^nodejs_eventloop_lag_/, most],
  [/^process_max_fds$/, least],
];

function readingOf(name: string, type: string): Reading {
  if (type !== 'gauge') return sum;
  return gauges.find(([pattern]) => pattern.test(name))?.[1] ?? sum;
}

/** Merges the metrics of several processes into the one page that is scraped. */
export function createMetricTotals(): MetricTotals {
  const living = new Map<number, MetricSnapshot>();
  let departed: MetricSnapshot = [];
  const highest = new Map<string, number>();

  /**
   * No counter of the page ever falls: added up in another order, a sum of fractions may come out smaller by its last digit, and
   * whoever scrapes would take that for a restart and count everything again.
   */
  function neverFalling(metric: MetricSnapshot[number]): MetricSnapshot[number] {
    if (!isCounted(metric)) return metric;
    const values = metric.values.map((one) => {
      const key = `${metric.name}\n${keyOf(one)}`;
      const value = Math.max(one.value, highest.get(key) ?? 0);
      highest.set(key, value);
      return { ...one, value };
    });
    return { ...metric, values };
  }

  return {
    learn(id, snapshot) {
      living.set(id, snapshot);
    },
    retire(id) {
      const last = living.get(id);
      living.delete(id);
      // A gauge tells of something that is; only what was counted stays true.
      if (last !== undefined) departed = merge([departed, last.filter(isCounted)]);
    },
    page(own) {
      const theirs = [...living.values()].map((each) => each.filter(({ name }) => !ownMetrics.test(name)));
      const registry = new Registry();
      for (const metric of merge([...theirs, departed, own])) {
        registry.registerMetric(
          shown(neverFalling(metric)) as unknown as Parameters<Registry['registerMetric']>[0],
        );
      }
      return registry.metrics();
    },
  };
}

/** As prom-client's own registries want it: a metric that gives its values when asked. */
function shown(metric: MetricSnapshot[number]): object {
  return { ...metric, get: () => Promise.resolve(metric) };
}

function isCounted({ type }: MetricSnapshot[number]): boolean {
  // prom-client's types say numbers; its objects, words.
  return ['counter', 'histogram'].includes(String(type));
}

function merge(snapshots: readonly MetricSnapshot[]): MetricSnapshot {
  const byName = new Map<string, MetricSnapshot[number][]>();
  for (const metric of snapshots.flat()) {
    const same = byName.get(metric.name);
    if (same === undefined) byName.set(metric.name, [metric]);
    else same.push(metric);
  }
  return [...byName.values()].map(mergeOne);
}

function mergeOne(metrics: readonly MetricSnapshot[number][]): MetricSnapshot[number] {
  const [first] = metrics;
  if (first === undefined) throw new RangeError('nothing to merge');
  if (metrics.length === 1) return first;
  const read = readingOf(first.name, String(first.type));
  const series = new Map<string, { readonly one: MetricValue<string>; readonly values: number[] }>();
  for (const one of metrics.flatMap(({ values }) => values)) {
    const key = keyOf(one);
    const known = series.get(key);
    if (known === undefined) series.set(key, { one, values: [one.value] });
    else known.values.push(one.value);
  }
  return {
    ...first,
    values: [...series.values()].map(({ one, values }) => ({ ...one, value: read(values) })),
  };
}

/** `metricName` tells a histogram's buckets from its sum and its count. */
function keyOf({ metricName, labels }: MetricValue<string> & { metricName?: string }): string {
  const pairs = Object.entries(labels).sort(([one], [other]) => (one < other ? -1 : 1));
  return `${metricName ?? ''}\n${pairs.map(([name, value]) => `${name}\n${String(value)}`).join('\n')}`;
}
