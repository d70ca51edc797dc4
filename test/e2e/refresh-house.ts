import { request as httpRequest } from 'node:http';
import type { Clock } from '../../src/kernel/clock.ts';
import { startEchoUpstream } from '../support/echo-upstream.ts';
import { startOp } from '../support/op.ts';
import type { OpOptions } from '../support/op.ts';
import { clientOf, loopbackOrigin, startSallyport, type TestSallyport } from '../support/sallyport.ts';
import { until } from '../support/until.ts';
import { UserAgent } from '../support/user-agent.ts';

type Json = Record<string, unknown>;

/** The machine's clock, moved. The test OP's tokens move along. */
export class MovableClock implements Clock {
  offsetMs = 0;
  nowMs(): number {
    return Date.now() + this.offsetMs;
  }
}

/** How long access tokens live at the house's OP, and when they are due for refresh. Seconds. */
export const accessTokenSeconds = 300;
export const dueAfterSeconds = 240;

export interface RefreshHouseOptions {
  readonly mfa?: Json;
  readonly source?: Json;
  readonly config?: Json;
  readonly op?: OpOptions;
  /** How many replicas, each of the same configuration; default 1. */
  readonly replicas?: number;
}

/** One IdP that brings and rotates refresh tokens, and replicas of one Sallyport, all on one clock. */
export async function furnishRefreshHouse(options: RefreshHouseOptions = {}) {
  const clock = new MovableClock();
  const upstream = await startEchoUpstream();
  const origin = await loopbackOrigin();
  const op = await startOp({
    clients: [
      {
        ...clientOf(origin, 'idp'),
        grant_types: ['authorization_code', 'refresh_token'],
      },
    ],
    acrValues: ['gold', 'bronze'],
    ...options.op,
    configuration: {
      issueRefreshToken: () => Promise.resolve(true),
      rotateRefreshToken: true,
      ttl: {
        AccessToken: accessTokenSeconds,
        AuthorizationCode: 60,
        IdToken: 3600,
        Interaction: 600,
        Session: 86_400,
        Grant: 86_400,
        RefreshToken: 86_400,
      },
      ...options.op?.configuration,
    },
  });
  /** What refreshed ID tokens say, over what the sign-in's said; `undefined` removes a claim. */
  const idp: { refreshed: Json; noIdToken: boolean } = { refreshed: {}, noIdToken: false };
  /** The refresh tokens that were spent, in order. */
  const spent = (): readonly string[] =>
    op.requests.flatMap(({ endpoint, params }) =>
      endpoint === 'token' && params['grant_type'] === 'refresh_token'
        ? [String(params['refresh_token'])]
        : [],
    );
  const signedInBefore = new Set<unknown>();
  op.tamperIdToken = ({ claims }) => {
    const offset = Math.round(clock.offsetMs / 1000);
    const times = { iat: Number(claims['iat']) + offset, exp: Number(claims['exp']) + offset };
    // The first ID token of a sign-in has its nonce; OIDC Core section 12.2 allows the same again.
    const first = !signedInBefore.has(claims['nonce']);
    signedInBefore.add(claims['nonce']);
    const said: Json = { ...claims, ...times, ...(first ? {} : idp.refreshed) };
    return { claims: Object.fromEntries(Object.entries(said).filter(([, value]) => value !== undefined)) };
  };
  op.tamperTokenResponse = (body) => {
    if (!idp.noIdToken) return body;
    const { ...rest } = body;
    delete rest['id_token'];
    return rest;
  };
  const replicas: TestSallyport[] = [];
  for (let index = 0; index < (options.replicas ?? 1); index += 1) {
    replicas.push(
      await startSallyport({
        origin,
        upstream: upstream.url,
        sources: [
          {
            id: 'idp',
            issuer: op.issuer,
            scopes: ['openid', 'profile', 'email', 'offline_access'],
            mfa: {
              mode: 'enforce',
              aal2_amr_values: ['mfa'],
              aal2_acr_values: ['gold'],
              accept: 'any',
              ...options.mfa,
            },
            ...options.source,
          },
        ],
        config: {
          session: { idle_timeout: '8h', absolute_timeout: '24h' },
          ...options.config,
          // All are of one public origin; the first answers there itself.
          ...(index === 0 ? {} : { server: { listen: '127.0.0.1:0' } }),
        },
        app: { clock },
      }),
    );
  }
  const [sallyport] = replicas;
  if (sallyport === undefined) throw new Error('a house without a replica');

  /** The audit events of refreshes, of all replicas. */
  const refreshes = (): readonly Json[] =>
    replicas.flatMap(({ audit }) => audit.lines().filter(({ action }) => action === 'session.refreshed'));

  return {
    ...{ clock, upstream, op, idp, origin, sallyport, replicas, spent, refreshes },
    /** A browser that has signed in at the first replica; its session is good at all of them. */
    async signIn(): Promise<UserAgent> {
      const browser = new UserAgent();
      const { last } = await browser.follow(`${origin}/`);
      if (last.status !== 200) throw new Error(`the sign-in ended with ${last.status}: ${last.body}`);
      return browser;
    },
    advance(seconds: number): void {
      clock.offsetMs += seconds * 1000;
    },
    async untilRefreshed(count: number): Promise<readonly Json[]> {
      await until(() => refreshes().length >= count);
      return refreshes();
    },
    async metrics(at = 0): Promise<(result: string) => number> {
      const text = await (await fetch(`http://${replicas[at]?.operations ?? ''}/metrics`)).text();
      return (result) =>
        Number(
          new RegExp(
            `^sallyport_token_refreshes_total\\{auth_source="idp",result="${result}"\\} (\\d+)$`,
            'm',
          ).exec(text)?.[1],
        );
    },
    async close(): Promise<void> {
      for (const replica of replicas) await replica.close();
      await op.stop();
      await upstream.close();
    },
  };
}

/** One request to one replica, with a session's cookie; no navigation. */
export function ask(
  replica: TestSallyport,
  origin: string,
  cookie: string,
  path: string,
): Promise<{ readonly status: number; readonly body: string }> {
  const [hostname = '', port = ''] = replica.listen.replace(/^https?:\/\//, '').split(':');
  return new Promise((resolve, reject) => {
    const headers = { host: new URL(origin).host, cookie, accept: 'application/json' };
    const request = httpRequest({ hostname, port, path, headers, agent: false }, (response) => {
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => (body += chunk));
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body }));
      response.on('error', reject);
    });
    request.on('error', reject);
    request.end();
  });
}

/** A session's cookie as a header. */
export function cookieOf(browser: UserAgent, origin: string): string {
  return browser
    .cookies(origin)
    .map(({ name, value }) => `${name}=${value}`)
    .join('; ');
}

/** A promise that the test keeps. */
export function makeGate(): { readonly opened: Promise<void>; open(): void } {
  let open: () => void = () => undefined;
  const opened = new Promise<void>((resolve) => (open = resolve));
  return { opened, open: () => open() };
}

export const whoami = async (browser: UserAgent, origin: string): Promise<Json> =>
  (await browser.request('GET', `${origin}/_sallyport/whoami`)).json() as Json;
