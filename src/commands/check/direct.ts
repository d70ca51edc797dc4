import { randomBytes } from 'node:crypto';
import { Agent, request } from 'undici';
import { headerPresets, type HeaderRule } from '../../identity/presets.ts';
import { fail, ok, warn, type Area, type Finding } from './finding.ts';

/** How the check of direct access is made. */
export interface DirectProbe {
  /** The address at which somebody past Sallyport would try; http or https. */
  readonly url: URL;
  /** The identity headers in force, beside those of every preset. */
  readonly headers: readonly HeaderRule[];
  /** An account that the upstream has; without it a made-up one. */
  readonly account: string | undefined;
}

/**
 * Where a signed-in user gets another answer than anybody: a forge's settings page and API, Grafana's API, and what there is of an app
 * that is none of them.
 */
const paths: readonly string[] = ['/user/settings', '/api/v1/user', '/api/user', '/'];

const timeoutMs = 10_000;
const maxBodyBytes = 1024 * 1024;

/**
 * `check --direct`: a spoofed identity header, straight to the upstream. Whoever can do that is whoever they like, so the best answer is
 * none at all.
 *
 * Each path is asked for twice, with and without the headers, and the answers are compared: the upstream believed them when it let in
 * whom it had kept out, or called its guest by the spoofed name.
 */
export async function checkDirect(probe: DirectProbe): Promise<Area> {
  return { name: `direct access to ${probe.url.origin}`, findings: await tryDirect(probe) };
}

async function tryDirect({ url, headers, account }: DirectProbe): Promise<readonly Finding[]> {
  const name = account ?? `sallyport-check-${randomBytes(4).toString('hex')}`;
  // Nothing secret is sent, and an attacker would not be stopped by a certificate either.
  const agent = new Agent({ connect: { rejectUnauthorized: false, timeout: timeoutMs } });
  const ask = (path: string, spoofed: Readonly<Record<string, string>>) =>
    askOnce(agent, new URL(path, url), spoofed);
  try {
    const spoofed = spoofedHeaders(headers, name);
    for (const path of paths) {
      const plain = await ask(path, {});
      const answer = await ask(path, spoofed);
      const believed = judge(plain, answer, name);
      if (believed !== undefined) {
        const leftover = account === undefined ? `; if an account ${name} was made by this, delete it` : '';
        return [
          fail(
            `${path}: a spoofed identity header was believed: ${believed}`,
            `whoever reaches this address is whoever they like: let the upstream listen on a Unix socket or on 127.0.0.1 in a network namespace that it shares with Sallyport alone${leftover}`,
          ),
        ];
      }
    }
    const nameIt = account === undefined ? '; name an account that exists (--as NAME) to be surer' : '';
    return [
      warn(
        `it answers, and did not believe a spoofed identity header${nameIt}`,
        'unless that is Sallyport itself, make it unreachable from here: one setting of the upstream would open it',
      ),
    ];
  } catch (error) {
    const code = codeOf(error);
    if (unreachable.has(code)) return [ok(`it can't be reached from here (${code})`)];
    return [
      warn(
        `no answer that could be judged (${code})`,
        'something is there: see what it is, and that it is not the upstream',
      ),
    ];
  } finally {
    await agent.destroy();
  }
}

/** The ways in which an address is not reachable at all. */
const unreachable: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ETIMEDOUT',
  'UND_ERR_CONNECT_TIMEOUT',
]);

interface Answer {
  readonly status: number;
  readonly body: string;
}

async function askOnce(agent: Agent, url: URL, headers: Readonly<Record<string, string>>): Promise<Answer> {
  const { statusCode, body } = await request(url, {
    dispatcher: agent,
    headers: { accept: 'text/html,application/json;q=0.9', 'user-agent': 'sallyport-check', ...headers },
    headersTimeout: timeoutMs,
    bodyTimeout: timeoutMs,
  });
  let text = '';
  for await (const chunk of body as AsyncIterable<Buffer>) {
    text += chunk.toString('latin1');
    if (text.length > maxBodyBytes) break;
  }
  return { status: statusCode, body: text };
}

/** The headers of every preset and the operator's own, all naming the same person. */
function spoofedHeaders(own: readonly HeaderRule[], name: string): Record<string, string> {
  const values: Readonly<Record<string, string>> = {
    email: `${name}@sallyport-check.invalid`,
    groups: 'sallyport-check',
  };
  const rules = [...Object.values(headerPresets).flat(), ...own];
  return Object.fromEntries(
    rules.map(({ header, claim }) => [header.toLowerCase(), values[claim] ?? name] as const),
  );
}

/** How the answer shows that the header was believed; undefined when it does not. */
function judge(plain: Answer, spoofed: Answer, name: string): string | undefined {
  const isIn = ({ status }: Answer): boolean => status >= 200 && status < 300;
  if (!isIn(plain) && isIn(spoofed)) return `status ${plain.status} without it, ${spoofed.status} with it`;
  if (isIn(spoofed) && spoofed.body.includes(name) && !plain.body.includes(name))
    return `the answer calls its guest ${name}`;
  return undefined;
}

function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return 'no answer';
  return 'code' in error ? String(error.code) : error.message;
}
