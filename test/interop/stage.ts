import { rm } from 'node:fs/promises';
import type { TestLogin, TestOp } from '../support/op.ts';
import { startOp } from '../support/op.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { clientOf, loopbackOrigin, startSallyport, type TestSallyport } from '../support/sallyport.ts';
import { UserAgent, type UserAgentResponse } from '../support/user-agent.ts';
import { startOldForge } from './old-forge.ts';
import { startForge, type Forge, type ForgeOptions } from './forge.ts';

/** A real forge behind a real Sallyport, with a real OpenID provider and a real Redis. */
export interface Stage {
  readonly origin: string;
  readonly forge: Forge;
  readonly op: TestOp;
  readonly redis: RedisServer;
  readonly sallyport: TestSallyport;
  /** A browser that signed in with MFA as this user. */
  signIn(
    name: string,
    options?: { readonly browser?: UserAgent; readonly login?: Partial<TestLogin> },
  ): Promise<UserAgent>;
  close(): Promise<void>;
}

/** What the IdP says of a user who used two factors. */
export function loginOf(name: string): TestLogin {
  return {
    sub: `subject-of-${name}`,
    amr: ['pwd', 'otp', 'mfa'],
    claims: {
      preferred_username: `${name}@example.com`,
      email: `${name}@example.com`,
      email_verified: true,
      name: `${name[0]?.toUpperCase() ?? ''}${name.slice(1)} Example`,
    },
  };
}

/** Starts everything; `config` is merged over Sallyport's sections. */
export async function startStage(
  options: {
    readonly config?: Readonly<Record<string, unknown>>;
    readonly forge?: Partial<ForgeOptions>;
    /** The forge reads its own cookie before the proxy's header, as versions before Gitea's PR 27821 did. */
    readonly cookieFirst?: boolean;
    /** Of the source; default `enforce`. */
    readonly mode?: 'enforce' | 'carry_over';
  } = {},
): Promise<Stage> {
  const origin = await loopbackOrigin();
  const [forge, redis] = await Promise.all([startForge({ rootUrl: origin, ...options.forge }), startRedis()]);
  const op = await startOp({ clients: [clientOf(origin, 'idp')] });
  const { upstream, ...rest } = options.config ?? {};
  const old = options.cookieFirst === true ? await startOldForge(forge) : undefined;
  const sallyport = await startSallyport({
    origin,
    upstream: old?.url ?? forge.url,
    sources: [{ id: 'idp', issuer: op.issuer, mfa: { preset: 'generic', mode: options.mode ?? 'enforce' } }],
    config: {
      session: { redis: { url: redis.url } },
      upstream: { preset: 'gitea', ...(upstream as object | undefined) },
      ...rest,
    },
  });
  return {
    origin,
    forge,
    op,
    redis,
    sallyport,
    async signIn(name, { browser = new UserAgent(), login = {} } = {}) {
      op.nextLogin = { ...loginOf(name), ...login };
      const { last } = await browser.follow(`${origin}/_sallyport/signin?return_to=/`);
      if (last.status !== 200)
        throw new Error(`sign-in of ${name}: ${last.status} ${last.body.slice(0, 500)}`);
      return browser;
    },
    async close() {
      await sallyport.close();
      await op.stop();
      await redis.stop();
      await old?.close();
      await forge.stop();
      await rm(forge.directory, { recursive: true, force: true });
    },
  };
}

/** Whose page it is: the user name in the forge's own menu; undefined on a page for nobody. */
export function signedInAs(page: string): string | undefined {
  return (
    /<meta name="user" content="([^"]*)"/.exec(page)?.[1] ??
    /Signed in as <strong>([^<]+)<\/strong>/i.exec(page)?.[1] ??
    /data-signed-user="([^"]+)"/.exec(page)?.[1]
  );
}

/** A request as git, docker and other tools send it: nothing in it that a browser would say. */
export const askAsTool = (
  origin: string,
  method: string,
  path: string,
  headers: Readonly<Record<string, string>> = {},
  body?: string | Buffer,
): Promise<UserAgentResponse> =>
  new UserAgent().request(method, `${origin}${path}`, {
    headers: { 'user-agent': 'git/2.39.5', ...headers },
    ...(body === undefined ? {} : { body }),
  });

/** The value of a Basic `Authorization` header. */
export const basic = (user: string, password: string): string =>
  `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
