import type { FastifyInstance, FastifyRequest } from 'fastify';
import { describeRequirement } from '../assurance/requirement.ts';
import type { Source } from '../generation.ts';
import { isFault } from '../kernel/error.ts';
import { jsonText } from '../kernel/json-text.ts';
import { statusPage, type StatusSource, type StatusView } from '../pages/status-page.ts';
import { texts } from '../pages/texts.ts';
import type { VerdictBucket } from '../pages/verdict-chart.ts';
import { firstHour, ledgerDays, type HourlyCount, type SourceLedger } from '../signin/ledger.ts';
import { appearanceOf } from './branding.ts';
import { canaryPath } from './canary.ts';
import { addEndpoint, queryOf, send, sendRefusal, type EndpointTools } from './endpoint.ts';
import { requireOperator } from './operators.ts';
import { nameOf } from './refusal-page.ts';
import { jsonHeaders, pageHeaders } from './security-headers.ts';
import { describePolicy, describeSource, isoTime, readable, reasonsOf, seriesOf } from './status-report.ts';

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;

/** `GET status`: for operators, as a page, or as JSON by `?format=json` or `Accept`. */
export function addStatus(scope: FastifyInstance, tools: EndpointTools): void {
  /** By source; undefined while the store cannot be read: then the page says so, and shows what it knows. */
  async function readLedgers(
    sources: readonly Source[],
  ): Promise<ReadonlyMap<string, SourceLedger> | undefined> {
    try {
      const read = async ({ config }: Source) => [config.id, await tools.ledger.read(config.id)] as const;
      return new Map(await Promise.all(sources.map(read)));
    } catch (error) {
      if (!isFault(error, 'store_unavailable')) throw error;
      return undefined;
    }
  }

  addEndpoint(scope, tools, {
    path: '/status',
    get: async (request, reply) => {
      const operator = await requireOperator(tools, request);
      if (!operator.ok) return sendRefusal(tools, request, reply, operator.refusal);
      const nowMs = tools.clock.nowMs();
      const sources = [...request.generation.sources.values()];
      const ledgers = await readLedgers(sources);
      if (wantsJson(request)) {
        const body = jsonText(describeStatus(sources, ledgers, nowMs));
        return send(reply, { status: 200, headers: jsonHeaders, body });
      }
      const range = new URLSearchParams(queryOf(request)).get('range') === 'hours' ? 'hours' : 'days';
      const view = viewOf(request, sources, ledgers, range, nowMs);
      const body = statusPage(appearanceOf(request.generation).branding, view);
      return send(reply, { status: 200, headers: pageHeaders(), body });
    },
  });
}

function wantsJson(request: FastifyRequest): boolean {
  const format = new URLSearchParams(queryOf(request)).get('format');
  if (format !== null) return format === 'json';
  const { accept = '' } = request.headers;
  return accept.includes('application/json') && !accept.includes('text/html');
}

/** The JSON of the status page; counts by the hour, refusals newest first. */
function describeStatus(
  sources: readonly Source[],
  ledgers: ReadonlyMap<string, SourceLedger> | undefined,
  nowMs: number,
): Readonly<Record<string, unknown>> {
  return {
    generated_at: isoTime(nowMs),
    store_available: ledgers !== undefined,
    sources: sources.map(({ config, policy, provider }) => {
      const { available, sinceMs, cause } = provider.status();
      const ledger = ledgers?.get(config.id);
      return {
        ...describeSource({ config, policy, ledger }, nowMs),
        idp: { up: available, since: isoTime(sinceMs), cause },
      };
    }),
  };
}

function viewOf(
  request: FastifyRequest,
  sources: readonly Source[],
  ledgers: ReadonlyMap<string, SourceLedger> | undefined,
  range: StatusView['range'],
  nowMs: number,
): StatusView {
  const { generation } = request;
  const { config } = generation;
  const path = `${config.server.path_prefix}/status`;
  const memory = config.session.redis === undefined ? texts.status.memory : undefined;
  return {
    generatedAt: readable(nowMs),
    notice: ledgers === undefined ? texts.status.storeDown : memory,
    range,
    rangeHrefs: { days: path, hours: `${path}?range=hours` },
    sources: sources.map((source): StatusSource => {
      const { available, sinceMs, cause } = source.provider.status();
      const ledger = ledgers?.get(source.config.id);
      return {
        id: source.config.id,
        name: nameOf(source),
        issuer: source.config.issuer,
        policy: describePolicy(source.policy, nowMs),
        required: describeRequirement(source.policy),
        up: available,
        since: readable(sinceMs),
        cause: available ? undefined : cause,
        canaryHref: config.canary === 'off' ? undefined : canaryPath(generation, source.config.id),
        ledger:
          ledger === undefined
            ? undefined
            : {
                buckets: bucketsOf(ledger.counts, range, nowMs),
                reasons: reasonsOf(ledger.counts),
                refusals: ledger.refusals.map(({ atMs, user, ...refusal }) => ({
                  ...refusal,
                  time: readable(atMs),
                  user: user.email ?? user.name ?? user.id,
                })),
              },
      };
    }),
  };
}

/** By the day, or by the hour for the last 48 of them. */
function bucketsOf(
  counts: readonly HourlyCount[],
  range: StatusView['range'],
  nowMs: number,
): readonly VerdictBucket[] {
  const widthMs = range === 'days' ? dayMs : hourMs;
  const number = range === 'days' ? ledgerDays : 48;
  // Stretches end with the hour that runs, so that each of them is whole.
  const startMs = firstHour(nowMs) + ledgerDays * dayMs - number * widthMs;
  const buckets = Array.from({ length: number }, (_, index) => ({
    label: readable(startMs + index * widthMs),
    counts: { strict: 0, weak: 0, unverified: 0, would_reject: 0, rejected: 0, failed: 0 },
  }));
  for (const each of counts) {
    const bucket = buckets[Math.floor((each.hourMs - startMs) / widthMs)];
    if (bucket !== undefined) bucket.counts[seriesOf(each)] += each.count;
  }
  return buckets;
}
