import type { HealthReport } from './health.ts';

type DependencyReport = HealthReport['dependencies'][number];

const badness: Readonly<Record<DependencyReport['state'], number>> = { up: 0, impaired: 1, down: 2 };

/**
 * The report of a process whose workers do the work: ready while one of them accepts requests, degraded while one is missing, and
 * of each dependency the worst that any of them says. Pure.
 *
 * @param reports of the workers that accept requests
 */
export function mergeReports(
  reports: readonly HealthReport[],
  { wanted, shuttingDown }: { readonly wanted: number; readonly shuttingDown: boolean },
): HealthReport {
  const byName = new Map<string, DependencyReport>();
  for (const each of reports.flatMap((report) => report.dependencies)) {
    const known = byName.get(each.name);
    if (known === undefined || isWorse(each, known)) byName.set(each.name, each);
  }
  const dependencies = [...byName.values()];
  const accepting = reports.length;
  const notReady =
    shuttingDown ||
    accepting === 0 ||
    dependencies.some(({ state, required }) => required && state === 'down');
  const whole = accepting >= wanted && dependencies.every(({ state }) => state === 'up');
  return {
    status: notReady ? 'not_ready' : whole ? 'ready' : 'degraded',
    shutting_down: shuttingDown,
    dependencies,
    workers: { wanted, accepting },
  };
}

/** Of two that are up the shorter is worse, of two that are not the longer. */
function isWorse(one: DependencyReport, other: DependencyReport): boolean {
  if (one.state !== other.state) return badness[one.state] > badness[other.state];
  return one.state === 'up' ? one.since > other.since : one.since < other.since;
}
