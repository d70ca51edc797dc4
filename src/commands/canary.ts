import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import type { ModeInForce } from '../assurance/outcome.ts';
import type { Outcome } from '../assurance/types.ts';
import { describeModeReason, describeOutcome } from '../assurance/words.ts';
import { systemClock } from '../kernel/clock.ts';
import { parseDuration } from '../kernel/duration.ts';
import { isFault } from '../kernel/error.ts';
import { jsonText } from '../kernel/json-text.ts';
import { systemRandomness } from '../kernel/randomness.ts';
import type { CanaryDecision, CanaryReport } from '../signin/canary.ts';
import { createCanaryTickets, type CanaryTickets } from '../signin/canary-ticket.ts';
import type { Command } from './command.ts';
import { configurationPath, fail, loadOrReport, noConfiguration, noSource } from './configuration.ts';
import { openSealedStore, whileReached } from './sealed-store.ts';
import { formatStep, printable, show } from './terminal.ts';

/** How often the result is looked for, in milliseconds. */
const lookEveryMs = 500;
/** A ticket is claimed in the store for a day: none may live longer. */
const longestWaitMs = 24 * 3_600_000;

/** `sallyport canary`: a one-time link to a sign-in that starts no session, and its result in the terminal. */
export const canaryCommand: Command = {
  name: 'canary',
  summary: 'make a one-time link to a test sign-in, and show what comes back',
  usage: `Usage: sallyport canary --source ID [--wait DURATION] [--json] [--config FILE]

Prints a one-time link. Whoever opens it signs in afresh at the IdP, in any browser; no session starts and none is
touched. The result is shown to them, and here: what the IdP sent about MFA, the verdict step by step, what follows
under the source's mode, and the policy that would accept it. Needs session.redis and a running serve beside it.

  --source ID      the source to sign in through
  --wait DURATION  how long to wait, and how long the link is good, at most 24h; default 10m
  --json           print the result as one JSON object (the link then goes to standard error)
  --config FILE    the configuration; else SALLYPORT_CONFIG

Exit status: 0 AAL2, 1 AAL1, an error of the IdP, or nobody came, 2 usage or configuration.`,

  async run(args, io) {
    const { values } = parseArgs({
      args: [...args],
      options: {
        config: { type: 'string' },
        source: { type: 'string' },
        wait: { type: 'string', default: '10m' },
        json: { type: 'boolean', default: false },
      },
    });
    const path = configurationPath(values.config, io);
    if (path === undefined) return fail(io, 'canary', noConfiguration);
    if (values.source === undefined) return fail(io, 'canary', 'give --source ID');
    const waitMs = parseDuration(values.wait);
    if (waitMs === undefined || waitMs < 1000 || waitMs > longestWaitMs) {
      return fail(io, 'canary', `--wait ${show(values.wait)} is no duration between 1s and 24h, such as 10m`);
    }
    const loaded = await loadOrReport(path, io);
    if (loaded === undefined) return 2;
    const { config } = loaded;
    const source = config.sources.find(({ id }) => id === values.source);
    if (source === undefined) {
      return fail(io, 'canary', noSource(values.source, config.sources));
    }
    if (config.canary === 'off') return fail(io, 'canary', 'the canary is switched off: canary: off');
    const sealed = openSealedStore(config.session);
    if (sealed === undefined) {
      return fail(
        io,
        'canary',
        'session.redis is not set: the link can only be passed to serve through Redis. Sign in as an operator and open the canary in the browser instead',
      );
    }
    const { store, sealing } = sealed;
    return await whileReached(store, 'canary', io, async () => {
      const tickets = createCanaryTickets({ store, sealing, randomness: systemRandomness });
      const ticket = await tickets.offer(source.id, waitMs);
      const { public_url: origins, path_prefix: prefix } = config.server;
      const link = `${origins[0] ?? ''}${prefix}/canary/${source.id}?ticket=${ticket}`;
      const until = `good once, for ${values.wait}`;
      (values.json ? io.stderr : io.stdout).write(`Open this link in a browser (${until}):\n\n  ${link}\n\n`);
      const report = await waitForReport(tickets, ticket, waitMs);
      if (report === undefined) {
        io.stderr.write(`sallyport canary: nobody came back within ${values.wait}\n`);
        return 1;
      }
      io.stdout.write(values.json ? `${printable(jsonText(report, 2))}\n` : formatReport(report));
      return report.decision?.aal === 'aal2' ? 0 : 1;
    });
  },
};

/** The result, once the sign-in has come back; undefined when it has not in time. */
async function waitForReport(
  tickets: CanaryTickets,
  ticket: string,
  waitMs: number,
): Promise<CanaryReport | undefined> {
  const endMs = systemClock.nowMs() + waitMs;
  for (;;) {
    const report = await findReport(tickets, ticket);
    if (report !== undefined || systemClock.nowMs() >= endMs) return report;
    await pause(lookEveryMs);
  }
}

/** A moment without Redis is no end of the wait. */
async function findReport(tickets: CanaryTickets, ticket: string): Promise<CanaryReport | undefined> {
  try {
    return (await tickets.find(ticket))?.report;
  } catch (error) {
    if (isFault(error, 'store_unavailable')) return undefined;
    throw error;
  }
}

function formatReport(report: CanaryReport): string {
  const { source, issuer, preset, mode, at, decision, failure, hint } = report;
  const lines = [
    `Source ${source} (${issuer}), preset ${preset}, mode ${mode}, signed in at ${at}`,
    '',
    ...(decision === undefined ? [formatFailure(report.result, failure)] : formatDecision(decision)),
    ...(hint === undefined || hint === '' ? [] : ['', `Hint: ${hint}`]),
    ...(decision === undefined ? [] : formatSuggestion(decision)),
  ];
  return `${lines.join('\n')}\n`;
}

function formatFailure(result: CanaryReport['result'], failure: CanaryReport['failure']): string {
  const parts = [failure?.detail, failure?.error, failure?.error_description].filter(
    (part) => part !== undefined,
  );
  // An IdP wrote these: in JSON they cannot steer a terminal.
  return `Nothing was decided: ${result}${parts.length === 0 ? '' : ` (${parts.map(show).join(', ')})`}`;
}

function formatDecision(decision: CanaryDecision): readonly string[] {
  const { observed, other_claims: others, steps, aal, evidence, weak, reason } = decision;
  const verdict =
    evidence === undefined
      ? `AAL1: ${reason ?? 'no evidence'}. ${decision.reason_text ?? ''}`
      : `AAL2, on the evidence of ${evidence.claim} = ${show(evidence.value)}${weak ? ', which is weak: strict would not accept it' : ''}`;
  const because =
    aal === 'aal2'
      ? ''
      : ` (${describeModeReason(decision.mode_why as ModeInForce['why']) ?? `mode ${decision.mode_in_force}`})`;
  return [
    'The IdP sent:',
    ...Object.entries(observed).map(([name, value]) => `  ${printable(name)}: ${show(value)}`),
    `  and ${others.length === 0 ? 'no other claim' : `other claims: ${show(others)}`}`,
    '',
    ...steps.flatMap(formatStep),
    '',
    `Verdict: ${verdict}`,
    `Outcome: ${describeOutcome(decision.outcome as Outcome['status'])}${because}`,
    ...(decision.identity === undefined
      ? []
      : [
          `Beside MFA, the account itself would be refused: ${decision.identity.code}. ${decision.identity.hint}`,
        ]),
  ];
}

function formatSuggestion({ suggestion }: CanaryDecision): readonly string[] {
  const { note, yaml } = suggestion;
  return [
    '',
    `A policy that would accept it: ${printable(note)}`,
    ...(yaml === undefined
      ? []
      : [
          '',
          ...yaml
            .trimEnd()
            .split('\n')
            .map((line) => `    ${printable(line)}`),
        ]),
  ];
}
