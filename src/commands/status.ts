import { parseArgs } from 'node:util';
import { resolvePolicy } from '../assurance/policy.ts';
import {
  describePolicy,
  describeSource,
  isoTime,
  readable,
  reasonsOf,
  seriesOf,
  type SourceStatus,
} from '../endpoints/status-report.ts';
import { systemClock } from '../kernel/clock.ts';
import { jsonText } from '../kernel/json-text.ts';
import { texts } from '../pages/texts.ts';
import { verdictSeries } from '../pages/verdict-chart.ts';
import { createLedger, ledgerDays } from '../signin/ledger.ts';
import type { Command } from './command.ts';
import { configurationPath, fail, loadOrReport, noConfiguration, noSource } from './configuration.ts';
import { openSealedStore, whileReached } from './sealed-store.ts';
import { printable, show } from './terminal.ts';

/** `sallyport status`: what the status page shows, in the terminal. */
export const statusCommand: Command = {
  name: 'status',
  summary: 'show sign-ins by verdict, and the latest refusals',
  usage: `Usage: sallyport status [--source ID] [--json] [--config FILE]

Shows of each source its policy, its sign-ins of the last ${ledgerDays} days by verdict, the reasons for which somebody was or would have
been refused, and the latest refusals with what was observed, what is required and a hint. The numbers are those of all replicas: needs
session.redis. Whether an identity provider is up is known to the running process alone: /readyz and /metrics tell.

  --source ID    this source only
  --json         print one JSON object; counts by the hour
  --config FILE  the configuration; else SALLYPORT_CONFIG

Exit status: 0 done, 1 Redis cannot be reached, 2 usage or configuration.`,

  async run(args, io) {
    const { values } = parseArgs({
      args: [...args],
      options: {
        config: { type: 'string' },
        source: { type: 'string' },
        json: { type: 'boolean', default: false },
      },
    });
    const path = configurationPath(values.config, io);
    if (path === undefined) return fail(io, 'status', noConfiguration);
    const loaded = await loadOrReport(path, io);
    if (loaded === undefined) return 2;
    const { config } = loaded;
    const chosen = config.sources.filter(({ id }) => values.source === undefined || id === values.source);
    if (chosen.length === 0) {
      return fail(io, 'status', noSource(values.source, config.sources));
    }
    const sealed = openSealedStore(config.session);
    if (sealed === undefined) {
      return fail(
        io,
        'status',
        'session.redis is not set: the numbers are in the memory of serve. Sign in as an operator and open the status page instead',
      );
    }
    const { store, sealing } = sealed;
    return await whileReached(store, 'status', io, async () => {
      const ledger = createLedger({ store, sealing, clock: systemClock, logFault: () => undefined });
      const nowMs = systemClock.nowMs();
      const sources = await Promise.all(
        chosen.map(async (source): Promise<SourceStatus> => ({
          config: source,
          policy: resolvePolicy(source.mfa, source).policy,
          ledger: await ledger.read(source.id),
        })),
      );
      io.stdout.write(
        values.json
          ? `${printable(jsonText({ generated_at: isoTime(nowMs), sources: sources.map((each) => describeSource(each, nowMs)) }, 2))}\n`
          : `${sources.map((each) => formatSource(each, nowMs).join('\n')).join('\n\n')}\n`,
      );
      return 0;
    });
  },
};

function formatSource({ config, policy, ledger }: SourceStatus, nowMs: number): readonly string[] {
  const { counts = [], refusals = [] } = ledger ?? {};
  const sums = verdictSeries
    .map((series) => {
      const own = counts.filter((each) => seriesOf(each) === series);
      return [texts.status.series[series], own.reduce((all, { count }) => all + count, 0)] as const;
    })
    .filter(([, count]) => count > 0);
  const reasons = reasonsOf(counts);
  return [
    `Source ${config.id} (${config.issuer}), ${describePolicy(policy, nowMs)}`,
    '',
    `Sign-ins of the last ${ledgerDays} days:${sums.length === 0 ? ' none' : ''}`,
    ...sums.map(([title, count]) => `  ${String(count).padStart(7)}  ${title}`),
    ...(reasons.length === 0 ? [] : ['', `${texts.status.reasonsTitle}:`]),
    ...reasons.map(
      ({ reason, outcome, count }) =>
        `  ${String(count).padStart(7)}  ${printable(reason)}, ${texts.status.outcomes[outcome]}`,
    ),
    '',
    // An IdP wrote names and claims: as JSON they cannot steer a terminal.
    texts.status.refusalsTitle(refusals.length),
    ...refusals.flatMap(({ atMs, user, reason, outcome, observed, required, hint, requestId }) => [
      `  ${readable(atMs)}  ${show(user.email ?? user.name ?? user.id ?? texts.status.nobody)}  ${printable(reason)}, ${texts.status.outcomes[outcome]}`,
      `    observed ${show(observed)}, required ${show(required)}, request ${printable(requestId ?? '–')}`,
      `    ${printable(hint)}`,
    ]),
  ];
}
