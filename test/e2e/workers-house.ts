import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import { dispatch } from '../../src/commands/index.ts';
import { startEchoUpstream } from '../support/echo-upstream.ts';
import { startOp } from '../support/op.ts';
import { clientOf, LineSink, loopbackOrigin, testClient } from '../support/sallyport.ts';
import { signOutAt } from '../support/sign-out.ts';
import { until } from '../support/until.ts';
import { UserAgent } from '../support/user-agent.ts';
import { ask, many, serve } from '../workers/stage.ts';

/*
 * One Sallyport of two worker processes as it is installed, an OP that brings refresh tokens and rotates them, and an application. The
 * clock is the machine's: access tokens live two seconds, and so are due for refresh every second.
 */

type Json = Record<string, unknown>;

/** Somebody who has signed in. */
export interface Guest {
  readonly sub: string;
  readonly cookie: string;
  readonly agent: UserAgent;
}

export interface WorkersHouseOptions {
  /** `session.redis`. */
  readonly redis: Json;
  readonly session?: Json;
  readonly upstream?: Json;
  readonly more?: Json;
  /** How long access tokens live, in seconds; default 2. */
  readonly accessTokenSeconds?: number;
}

/** Starts it all; everything ends with the test. */
export async function startWorkersHouse(t: Test, main: string, options: WorkersHouseOptions) {
  const upstream = await startEchoUpstream();
  const origin = await loopbackOrigin();
  const op = await startOp({
    clients: [{ ...clientOf(origin, 'idp'), grant_types: ['authorization_code', 'refresh_token'] }],
    configuration: {
      issueRefreshToken: () => Promise.resolve(true),
      rotateRefreshToken: true,
      ttl: {
        AccessToken: options.accessTokenSeconds ?? 2,
        AuthorizationCode: 60,
        IdToken: 3600,
        Interaction: 600,
        Session: 86_400,
        Grant: 86_400,
        RefreshToken: 86_400,
      },
    },
  });
  t.teardown(() => Promise.all([op.stop(), upstream.close()]));
  const secrets = ['0123456789abcdef0123456789abcdef-of-the-tests'];
  const served = await serve(t, main, {
    upstream: upstream.url,
    origin,
    more: {
      operations: { control_socket: 'control.sock' },
      audit: { file: 'audit.jsonl' },
      upstream: options.upstream ?? {},
      session: { secrets, redis: options.redis, ...options.session },
      sources: [
        {
          ...{ id: 'idp', issuer: op.issuer, ...testClient },
          scopes: ['openid', 'profile', 'email', 'offline_access'],
          mfa: { aal2_amr_values: ['mfa'] },
        },
      ],
      ...options.more,
    },
  });
  const auditFile = join(served.directory, 'audit.jsonl');
  const audited = (action: string): readonly Json[] =>
    (existsSync(auditFile) ? readFileSync(auditFile, 'utf8') : '')
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as Json)
      .filter((event) => event['action'] === action);
  const request = ({ cookie }: Guest, path = '/hello') =>
    ask(`${origin}${path}`, { headers: { cookie, accept: 'application/json' } });

  return {
    ...{ served, origin, op, upstream, audited, request },
    /** The refresh tokens that were spent, in order. */
    spent: (): readonly string[] =>
      op.requests.flatMap(({ endpoint, params }) =>
        endpoint === 'token' && params['grant_type'] === 'refresh_token'
          ? [String(params['refresh_token'])]
          : [],
      ),
    /** What became of refreshes, by the trail. */
    refreshes: (): readonly Json[] => audited('session.refreshed'),
    async signIn(sub: string): Promise<Guest> {
      op.nextLogin = {
        sub,
        amr: ['pwd', 'mfa'],
        claims: { email: `${sub}@example.com`, email_verified: true, preferred_username: sub },
      };
      const agent = new UserAgent();
      const { last } = await agent.follow(`${origin}/hello`);
      if (last.status !== 200) throw new Error(`the sign-in ended with ${last.status}: ${last.body}`);
      return { sub, agent, cookie: `sallyport=${agent.cookie(origin, 'sallyport') ?? ''}` };
    },
    async signOut({ agent }: Guest): Promise<number> {
      return (await signOutAt(agent, origin)).status;
    },
    /** Asks until every worker has answered a request of this session with this status. */
    async untilAllSay(guest: Guest, status: number): Promise<void> {
      const path = `/by-${guest.sub}-${status}-${served.lines().length}`;
      await until(
        async () => {
          await many(6, () => request(guest, path));
          const said = served
            .lines()
            .filter((line) => line['url.path'] === path && line['http.response.status_code'] === status);
          return served.workers().every((pid) => said.some((line) => line['process.pid'] === pid));
        },
        `${status} for ${guest.sub} from every worker`,
        30_000,
      );
    },
    /** The statuses of so many requests at once, over connections of their own, each once. */
    async statuses(guest: Guest, count = 20): Promise<readonly number[]> {
      const answers = await many(count, () => request(guest));
      return [...new Set(answers.map(({ status }) => status))].sort();
    },
    async command(...args: string[]) {
      const [stdout, stderr] = [new LineSink(), new LineSink()];
      const env = {
        SALLYPORT_CONFIG: join(served.directory, 'sallyport.yaml'),
        DIRECTORY: served.directory,
      };
      const status = await dispatch(args, { stdout, stderr, env });
      return { status, out: stdout.text, err: stderr.text };
    },
    /** A counter of the page, added up over its series that match. */
    async counted(series: RegExp): Promise<number> {
      const { text } = await served.look('/metrics');
      return text
        .split('\n')
        .filter((line) => series.test(line))
        .reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
    },
  };
}

export type WorkersHouse = Awaited<ReturnType<typeof startWorkersHouse>>;
