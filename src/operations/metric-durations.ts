import { Histogram } from 'prom-client';
import type { MetricObjectWithValues, MetricValueWithName, Registry } from 'prom-client';

/** A histogram of seconds for the path of every request. */
export interface Durations {
  /** @param label the label's value; none where the histogram has no label */
  observe(seconds: number, label?: string): void;
  /** Makes the series stand at 0. */
  zero(label?: string): void;
}

export interface DurationsOptions {
  readonly name: string;
  readonly help: string;
  readonly labelName?: string;
  /** Upper bounds in seconds, ascending. */
  readonly buckets: readonly number[];
}

interface Series {
  readonly labels: Readonly<Record<string, string>>;
  /** Per bucket, not summed up; the last one is for what lies above all bounds. */
  readonly counts: Float64Array;
  sum: number;
}

/**
 * A histogram whose observation is a short search and two additions: prom-client's own checks the labels, sorts them into a key and
 * looks buckets up by the text of their bound, each time. It is a prom-client histogram to whoever scrapes.
 */
export function createDurations(registry: Registry, options: DurationsOptions): Durations {
  const { name, help, labelName, buckets } = options;
  const bySeries = new Map<string, Series>();

  function seriesOf(label: string): Series {
    const known = bySeries.get(label);
    if (known !== undefined) return known;
    const series: Series = {
      labels: labelName === undefined ? {} : { [labelName]: label },
      counts: new Float64Array(buckets.length + 1),
      sum: 0,
    };
    bySeries.set(label, series);
    return series;
  }

  function valuesOf({ labels, counts, sum }: Series): MetricValueWithName<string>[] {
    let total = 0;
    const values = [...counts].map((count, index) => ({
      metricName: `${name}_bucket`,
      labels: { le: buckets[index] ?? '+Inf', ...labels },
      value: (total += count),
    }));
    return [
      ...values,
      { metricName: `${name}_sum`, labels, value: sum },
      { metricName: `${name}_count`, labels, value: total },
    ];
  }

  class DurationHistogram extends Histogram {
    override get(): Promise<MetricObjectWithValues<MetricValueWithName<string>>> {
      const values = [...bySeries.values()].flatMap(valuesOf);
      const metric = { name, help, type: 'histogram', values, aggregator: 'sum' };
      return Promise.resolve(metric as unknown as MetricObjectWithValues<MetricValueWithName<string>>);
    }

    /** What prom-client asks for instead when it writes the page; its types don't tell. */
    getForPromString(): ReturnType<DurationHistogram['get']> {
      return this.get();
    }
  }
  new DurationHistogram({
    name,
    help,
    labelNames: labelName === undefined ? [] : [labelName],
    buckets: [...buckets],
    registers: [registry],
  });
  // Without a label there is one series, known beforehand.
  if (labelName === undefined) seriesOf('');

  return {
    observe(seconds, label = '') {
      const series = seriesOf(label);
      let index = 0;
      while (index < buckets.length && seconds > (buckets[index] ?? 0)) index += 1;
      series.counts[index] = (series.counts[index] ?? 0) + 1;
      series.sum += seconds;
    },
    zero(label = '') {
      seriesOf(label);
    },
  };
}
