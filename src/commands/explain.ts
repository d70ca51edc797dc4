import { readFile } from 'node:fs/promises';
import { stdin } from 'node:process';
import { parseArgs } from 'node:util';
import { findModeInForce, stand, type ModeInForce } from '../assurance/outcome.ts';
import { resolvePolicy } from '../assurance/policy.ts';
import { describeReason, hintFor, weakHint } from '../assurance/reasons.ts';
import type { Claims, EnforcementSubject, Mode, Standing } from '../assurance/types.ts';
import { describeModeReason, describeOutcome } from '../assurance/words.ts';
import type { SourceConfig } from '../config/schema.ts';
import { resolveEmail } from '../identity/email.ts';
import { resolveGroups } from '../identity/groups.ts';
import { systemClock } from '../kernel/clock.ts';
import { jsonText } from '../kernel/json-text.ts';
import type { Command } from './command.ts';
import { configurationPath, fail, loadOrReport, noConfiguration, noSource } from './configuration.ts';
import { formatStep, printable, show } from './terminal.ts';

/** `sallyport explain`: the decision that `serve` would take for these claims, step by step. */
export const explainCommand: Command = {
  name: 'explain',
  summary: 'show the verdict for given claims, step by step',
  usage: `Usage: sallyport explain --source ID (--claims FILE | --token FILE) [--config FILE] [--now TIME] [--json]

Takes the same decision as serve and says how it came about: what was looked at, what was found, what would have
satisfied, and what follows under the source's mode.

  --source ID     the source whose policy decides
  --claims FILE   the claims of an ID token, as a JSON object; - reads standard input
  --token FILE    an ID token (JWT); it is decoded, NOT verified: no signature, issuer or expiry is checked
  --config FILE   the configuration; else SALLYPORT_CONFIG
  --now TIME      judge as of this moment (ISO 8601, e.g. 2027-01-31T08:00:00Z); else now
  --json          print one JSON object

Exit status: 0 AAL2, 1 AAL1, 2 usage or configuration.`,

  async run(args, io) {
    const { values } = parseArgs({
      args: [...args],
      options: {
        config: { type: 'string' },
        source: { type: 'string' },
        claims: { type: 'string' },
        token: { type: 'string' },
        now: { type: 'string' },
        json: { type: 'boolean', default: false },
      },
    });
    const configPath = configurationPath(values.config, io);
    if (configPath === undefined) return fail(io, 'explain', noConfiguration);
    if (values.source === undefined) return fail(io, 'explain', 'give --source ID');
    const input = chooseInput(values.claims, values.token);
    if (input === undefined) return fail(io, 'explain', 'give either --claims FILE or --token FILE');
    const nowMs = values.now === undefined ? systemClock.nowMs() : Date.parse(values.now);
    if (Number.isNaN(nowMs))
      return fail(io, 'explain', `--now ${show(values.now)} is not a time such as 2027-01-31T08:00:00Z`);

    const loaded = await loadOrReport(configPath, io);
    if (loaded === undefined) return 2;
    const { sources } = loaded.config;
    const source = sources.find(({ id }) => id === values.source);
    if (source === undefined) {
      return fail(io, 'explain', noSource(values.source, sources));
    }
    const claims = await readClaims(input);
    if (typeof claims === 'string') return fail(io, 'explain', claims);

    const explanation = explain(claims, source, nowMs);
    const report = values.json ? formatJson(explanation) : formatText(explanation, input.kind === 'token');
    io.stdout.write(`${report}\n`);
    return explanation.standing.verdict.aal === 'aal2' ? 0 : 1;
  },
};

interface Input {
  readonly kind: 'claims' | 'token';
  readonly path: string;
}

function chooseInput(claims: string | undefined, token: string | undefined): Input | undefined {
  if ((claims === undefined) === (token === undefined)) return undefined;
  return claims === undefined ? { kind: 'token', path: token ?? '' } : { kind: 'claims', path: claims };
}

/** The claims, or one sentence on why there are none. */
async function readClaims({ kind, path }: Input): Promise<Claims | string> {
  let text: string;
  try {
    text = path === '-' ? await readAll(stdin) : await readFile(path, 'utf8');
  } catch (error) {
    return `${show(path)} cannot be read: ${(error as NodeJS.ErrnoException).code ?? 'unknown error'}`;
  }
  const json = kind === 'token' ? decodePayload(text.trim()) : text;
  if (json === undefined) return `${show(path)} holds no signed JWT: expected three parts, separated by dots`;
  try {
    const value: unknown = JSON.parse(json);
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Claims;
  } catch {
    // Told below: a parser's message would echo the text.
  }
  return `${show(path)} holds no JSON object of claims`;
}

async function readAll(stream: NodeJS.ReadableStream): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks).toString('utf8');
}

/** The payload of a JWS in compact form, not verified. @see RFC 7515 section 7.1 */
function decodePayload(token: string): string | undefined {
  const match = /^[\w-]+\.([\w-]+)\.[\w-]*$/.exec(token);
  return match?.[1] === undefined ? undefined : Buffer.from(match[1], 'base64url').toString('utf8');
}

interface Explanation {
  readonly source: SourceConfig;
  readonly nowMs: number;
  readonly inForce: ModeInForce;
  readonly standing: Standing;
  readonly hint: string | undefined;
}

/** The same functions in the same order as at the callback of a sign-in. */
function explain(claims: Claims, source: SourceConfig, nowMs: number): Explanation {
  const { policy } = resolvePolicy(source.mfa, source);
  const email = resolveEmail(claims, claims, source);
  const subject: EnforcementSubject = {
    verifiedEmail: email.verified ? email.address : undefined,
    groups: resolveGroups(claims, claims, source.groups_claim),
  };
  const standing = stand(claims, policy, subject, Math.floor(nowMs / 1000), nowMs);
  const { reason, observed, weak } = standing.verdict;
  const hint =
    reason === undefined ? (weak ? weakHint : undefined) : hintFor(reason, policy.preset, observed);
  return { source, nowMs, inForce: findModeInForce(policy, subject, nowMs), standing, hint };
}

function formatJson({ source, nowMs, inForce, standing, hint }: Explanation): string {
  const { verdict, outcome } = standing;
  const json = jsonText(
    {
      source: source.id,
      preset: source.mfa.preset,
      mode: source.mfa.mode,
      mode_in_force: inForce.mode,
      judged_as_of: new Date(nowMs).toISOString(),
      aal: verdict.aal,
      evidence: verdict.evidence,
      weak: verdict.weak,
      reason: verdict.reason,
      outcome: outcome.status,
      admitted: outcome.admit,
      observed: verdict.observed,
      required: verdict.required,
      steps: verdict.steps,
      hint,
    },
    2,
  );
  return printable(json);
}

function formatText({ source, nowMs, inForce, standing, hint }: Explanation, decoded: boolean): string {
  const { verdict, outcome } = standing;
  const { aal, evidence, weak, reason } = verdict;
  const found =
    evidence === undefined
      ? `AAL1: ${reason ?? 'no evidence'}. ${describeReason(reason ?? '')}`
      : `AAL2, on the evidence of ${evidence.claim} = ${show(evidence.value)}${weak ? ', which is weak: strict would not accept it' : ''}`;
  return [
    `Source ${source.id} (${source.issuer}), preset ${source.mfa.preset}, mode ${source.mfa.mode}, judged as of ${new Date(nowMs).toISOString()}`,
    ...(decoded
      ? [
          'The token was decoded, NOT verified: whether its signature, issuer and times are good is another question.',
        ]
      : []),
    '',
    ...verdict.steps.flatMap(formatStep),
    '',
    `Verdict: ${found}`,
    `Outcome: ${describeOutcome(outcome.status)}${describeMode(inForce, source.mfa.mode, aal)}`,
    ...(hint === undefined ? [] : ['', `Hint: ${hint}`]),
  ].join('\n');
}

/** Why another mode holds than the one that is written. */
function describeMode(inForce: ModeInForce, written: Mode, aal: string): string {
  if (aal === 'aal2') return '';
  return ` (${describeModeReason(inForce.why) ?? `mode ${written}`})`;
}
