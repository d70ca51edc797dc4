import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { FastifyInstance } from 'fastify';
import { configSchema } from '../../src/config/schema.ts';
import type { ConfigInput } from '../../src/config/schema.ts';
import { buildGeneration } from '../../src/assembly/generation-builder.ts';
import type { Generation } from '../../src/generation.ts';
import { createAssertionSigner } from '../../src/identity/assertion.ts';
import type { AssertionSigner } from '../../src/identity/assertion.ts';
import { createIdentityHeaders } from '../../src/identity/headers.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { silentMeter } from '../../src/kernel/meter.ts';
import type { Meter } from '../../src/kernel/meter.ts';
import { systemRandomness } from '../../src/kernel/randomness.ts';
import type { Provider } from '../../src/provider/types.ts';
import { createPublicServer } from '../../src/proxy/server.ts';
import type { AccessEntry } from '../../src/kernel/access-entry.ts';
import type { EndSession, RenderRefusal } from '../../src/proxy/types.ts';
import { createMemoryStore } from '../../src/session/memory-store.ts';
import { createSealing } from '../../src/session/sealing.ts';
import { createSessions } from '../../src/session/sessions.ts';
import type { SessionRecord, Sessions, Store } from '../../src/session/types.ts';

/** A provider that nobody asks anything: the proxy never does. */
const noProvider: Provider = {
  sourceId: 'test',
  status: () => ({ available: true, sinceMs: 0 }),
  start: async () => undefined,
  authorizationUrl: async () => new URL('http://127.0.0.1/'),
  exchange: async () => ({ refused: { error: 'none', description: undefined } }),
  endSessionUrl: () => undefined,
  verifyLogoutToken: () => Promise.reject(new Error('no logout here')),
  close: async () => undefined,
};

/** Plain rendering: the code, and how it would be shown. */
const renderPlainly: RenderRefusal = (refusal, facts) => {
  const page = facts.navigation || facts.formNavigation === true;
  return {
    status: refusal.status,
    headers: {
      'content-type': page ? 'text/html; charset=utf-8' : 'application/json',
      'cache-control': 'no-store',
      ...(refusal.location === undefined ? {} : { location: refusal.location }),
      ...refusal.headers,
    },
    body: page ? `<p>${refusal.code}</p>` : JSON.stringify({ error: refusal.code, ...refusal.body }),
  };
};

export interface HarnessOptions {
  readonly upstream: string | (Partial<ConfigInput['upstream']> & { readonly url: string });
  readonly server?: Partial<ConfigInput['server']>;
  readonly session?: Partial<ConfigInput['session']>;
  readonly routes?: ConfigInput['routes'];
  readonly store?: Store;
  readonly meter?: Partial<Meter>;
  readonly endSession?: EndSession;
  /** `false`: none. Without it, entries are kept in {@link Harness.entries}. */
  readonly accessLog?: false | ((entry: AccessEntry) => void);
  readonly registerEndpoints?: (scope: FastifyInstance) => Promise<void>;
}

export interface Harness {
  readonly app: FastifyInstance;
  /** TCP port, or 0 on a Unix socket. */
  readonly port: number;
  readonly sessions: Sessions;
  readonly generation: Generation;
  readonly signer: AssertionSigner;
  readonly entries: readonly AccessEntry[];
  readonly warnings: readonly {
    readonly message: string;
    readonly fields: Readonly<Record<string, unknown>>;
  }[];
  readonly faults: readonly unknown[];
  /** Host header under which it answers. */
  readonly host: string;
  signIn(overrides?: Partial<SessionRecord>): Promise<string>;
  close(): Promise<void>;
}

export const testOrigin = 'https://forge.example.com';

/** A public server over the real gate, policy, sessions and identity headers, listening on loopback. */
export async function startHarness(options: HarnessOptions): Promise<Harness> {
  const upstream = typeof options.upstream === 'string' ? { url: options.upstream } : options.upstream;
  const secret = randomBytes(32).toString('base64');
  const config = configSchema.parse({
    server: { public_url: testOrigin, ...options.server },
    upstream,
    session: { secrets: [secret], ...options.session },
    sources: [{ id: 'test', issuer: 'https://idp.example.com', client_id: 'client' }],
    routes: options.routes ?? [
      { name: 'open', path: '/public/**', access: 'public' },
      { name: 'closed', path: '/denied/**', access: 'deny' },
      { name: 'strong', path: '/strong/**', require_aal: 'aal2', max_auth_age: '10m' },
    ],
  } satisfies ConfigInput);
  const clock = systemClock;
  const randomness = systemRandomness;
  const meter: Meter = { ...silentMeter, ...options.meter };
  const store = options.store ?? createMemoryStore(clock);
  const sealing = createSealing([Buffer.from(secret)], randomness);
  const sessions = createSessions({
    store,
    sealing,
    clock,
    randomness,
    meter,
    idleTimeoutMs: config.session.idle_timeout,
    absoluteTimeoutMs: config.session.absolute_timeout,
    cacheMs: config.session.cache,
    outageGraceMs: config.session.outage_grace,
    maxCached: 1_000,
  });
  const signer = await createAssertionSigner({
    store: createMemoryStore(clock),
    sealing,
    audience: config.upstream.url,
    randomness,
  });
  const generation = buildGeneration(config, {
    providerOf: () => noProvider,
    identityHeaders: createIdentityHeaders(config.upstream, signer),
  });
  const entries: AccessEntry[] = [];
  const warnings: { message: string; fields: Readonly<Record<string, unknown>> }[] = [];
  const faults: unknown[] = [];
  const app = await createPublicServer(config, {
    generations: { current: () => generation },
    sessions,
    render: renderPlainly,
    registerEndpoints:
      options.registerEndpoints ??
      (async (scope) => {
        scope.get('/whoami', (request, reply) => {
          void reply.send({ path: request.facts.rawTarget, ip: request.facts.clientIp });
        });
        scope.get('/broken', () => {
          throw new Error('a secret stack');
        });
      }),
    ...(options.endSession === undefined ? {} : { endSession: options.endSession }),
    accessLog:
      options.accessLog === false ? undefined : (options.accessLog ?? ((entry) => entries.push(entry))),
    logFault: (error) => faults.push(error),
    logWarning: (message, fields) => warnings.push({ message, fields }),
    meter,
    clock,
    randomness,
  });
  await app.listen({ port: 0, host: '127.0.0.1' });
  const { port } = app.server.address() as AddressInfo;

  return {
    app,
    port,
    sessions,
    generation,
    signer,
    entries,
    warnings,
    faults,
    host: new URL(config.server.public_url[0] ?? testOrigin).host,
    async signIn(overrides = {}) {
      const now = Math.floor(Date.now() / 1000);
      const { cookieValue } = await sessions.create({
        version: 1,
        id: randomBytes(12).toString('hex'),
        source: 'test',
        issuer: 'https://idp.example.com',
        clientId: 'client',
        identity: {
          subject: 'sub-1',
          username: 'zoe',
          name: 'Zoë Example',
          email: 'zoe@example.com',
          emailVerified: true,
          preferredUsername: 'zoe',
          groups: ['staff'],
        },
        claims: { sub: 'sub-1', amr: ['mfa'], auth_time: now },
        issuedAt: now,
        authenticatedAt: now,
        expiresAt: now + 3_600,
        forced: false,
        tokens: {
          idToken: undefined,
          accessToken: 'at-secret',
          accessTokenExpiresAt: undefined,
          refreshToken: undefined,
        },
        ...overrides,
      });
      return `__Host-sallyport=${cookieValue}`;
    },
    close: () => app.close(),
  };
}

/** A directory that goes when the test ends. */
export function temporaryDirectory(teardown: (fn: () => void) => void): string {
  const path = mkdtempSync(join(tmpdir(), 'sp-'));
  teardown(() => rmSync(path, { recursive: true, force: true }));
  return path;
}
