import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { Test } from 'tap';
import { startEchoUpstream } from '../support/echo-upstream.ts';
import { startOp } from '../support/op.ts';
import { startRedis } from '../support/redis.ts';
import { clientOf, startSallyport, type TestSallyport } from '../support/sallyport.ts';
import { freePort } from '../support/ports.ts';
import { startTcpLink } from '../support/tcp-link.ts';
import { stopwatch } from '../support/stopwatch.ts';
import { UserAgent, type UserAgentRequest, type UserAgentResponse } from '../support/user-agent.ts';

/*
 * Replicas of one Sallyport on one public origin, over one Redis, each behind a link of its own that can be cut; an OP and an
 * application that counts what reaches it.
 */

/** Forty digits, as forges issue them. */
export const forgeToken = 'token 0123456789abcdef0123456789abcdef01234567';

/** Headers by which the application would know somebody. */
const identityHeaders = [
  'x-forwarded-user',
  'x-forwarded-email',
  'x-forwarded-groups',
  'x-forwarded-preferred-username',
  'x-sallyport-assertion',
];

export interface ReplicaOptions {
  readonly session?: Readonly<Record<string, unknown>>;
  readonly operations?: Readonly<Record<string, unknown>>;
  readonly clock?: { readonly nowMs: () => number; readonly steadyMs: () => number };
}

/** Starts it all; everything ends with the test. */
export async function startHouse(
  t: Test,
  replicas: readonly ReplicaOptions[],
  redisArgs: readonly string[] = [],
) {
  const origin = `http://127.0.0.1:${await freePort()}`;
  const redis = await startRedis({ args: redisArgs });
  const op = await startOp({ clients: [clientOf(origin, 'idp')] });
  const upstream = await startEchoUpstream();
  const links = await Promise.all(replicas.map(() => startTcpLink(redis.port)));
  const start = (index: number): Promise<TestSallyport> => {
    const { session, operations, clock } = replicas[index]!;
    return startSallyport({
      origin,
      upstream: upstream.url,
      sources: [{ id: 'idp', issuer: op.issuer }],
      config: {
        server: { listen: '127.0.0.1:0', shutdown_grace: '200ms' },
        session: { redis: { url: `redis://127.0.0.1:${links[index]!.port}` }, ...session },
        ...(operations === undefined ? {} : { operations }),
        routes: [
          { name: 'open', path: '/open/**', access: 'public' },
          { name: 'raw', path: '/raw/**', access: 'upstream' },
          { name: 'api', path: '/api/**', access: 'credentials' },
        ],
      },
      ...(clock === undefined ? {} : { app: { clock } }),
    });
  };
  const apps = await Promise.all(replicas.map((_, index) => start(index)));
  t.teardown(async () => {
    redis.resume();
    await Promise.all(apps.map((app) => app.close()));
    await Promise.all([op.stop(), upstream.close(), ...links.map((link) => link.close())]);
    await redis.stop();
  });

  /** A browser that a balancer sends to one replica, or to another when told so. */
  function browser(index = 0) {
    const place = { host: '127.0.0.1', port: 0 };
    const at = (next: number): void => {
      place.port = Number(new URL(apps[next]!.listen).port);
    };
    at(index);
    const agent = new UserAgent({ resolve: { [new URL(origin).host]: place } });
    return {
      agent,
      /** Sends its requests to another replica from now on. */
      at,
      to: (port: number): void => void (place.port = port),
      ask: (path: string, options: UserAgentRequest & { readonly method?: string } = {}) =>
        agent.request(options.method ?? 'GET', `${origin}${path}`, options),
      cookie: () => agent.cookie(origin, 'sallyport'),
      async signIn(sub: string, path = '/hello') {
        op.nextLogin = {
          sub,
          amr: ['pwd', 'mfa'],
          claims: { email: `${sub}@example.com`, email_verified: true, preferred_username: sub },
        };
        return (await agent.follow(`${origin}${path}`)).last;
      },
      /** As far as the callback's address, which is not asked yet. */
      async signInHalfway(sub: string): Promise<string> {
        op.nextLogin = {
          sub,
          amr: ['pwd', 'mfa'],
          claims: { email: `${sub}@example.com`, email_verified: true, preferred_username: sub },
        };
        const { last } = await agent.follow(`${origin}/hello`, {
          until: (url) => url.includes('/callback/'),
        });
        return last.location ?? '';
      },
    };
  }

  const operations = async (index: number, path: string) => fetch(`http://${apps[index]!.operations}${path}`);
  return {
    origin,
    redis,
    op,
    upstream,
    links,
    apps,
    /** Starts a replica, with the address that it had not. */
    start,
    browser,
    async readiness(index = 0) {
      const answer = await operations(index, '/readyz');
      const { status, dependencies } = (await answer.json()) as {
        status: string;
        dependencies: { name: string; state: string; cause?: string }[];
      };
      const redisState = dependencies.find(({ name }) => name === 'redis');
      return { code: answer.status, status, redis: redisState };
    },
    /** A gauge or counter without labels. */
    async metric(name: string, index = 0): Promise<number | undefined> {
      const page = await (await operations(index, '/metrics')).text();
      const value = new RegExp(`^${name} (\\S+)$`, 'm').exec(page)?.[1];
      return value === undefined ? undefined : Number(value);
    },
    /** What has reached the application under an identity. */
    identified: () =>
      upstream.seen.filter(({ headers }) => identityHeaders.some((name) => headers[name] !== undefined)),
  };
}

export type House = Awaited<ReturnType<typeof startHouse>>;

/**
 * Asks, and says how long the answer took less what this process (which is client, proxy and IdP in one, on a machine with
 * others) was kept from running; and how long by the clock.
 */
export async function timed(
  ask: () => Promise<UserAgentResponse>,
): Promise<UserAgentResponse & { readonly tookMs: number; readonly elapsedMs: number }> {
  const delay = monitorEventLoopDelay({ resolution: 10 });
  delay.enable();
  const startedAt = performance.now();
  const runningMs = stopwatch();
  const answer = await ask();
  const elapsedMs = performance.now() - startedAt;
  const ranMs = runningMs();
  delay.disable();
  const heldUpMs = delay.count === 0 ? 0 : delay.max / 1e6;
  return { ...answer, elapsedMs, tookMs: Math.min(elapsedMs - heldUpMs, ranMs) };
}
