import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { AuditEvent } from '../../src/audit/types.ts';
import { configSchema, type ConfigInput } from '../../src/config/schema.ts';
import { registerEndpoints } from '../../src/endpoints/register.ts';
import { createRenderer } from '../../src/endpoints/render.ts';
import { buildGeneration } from '../../src/assembly/generation-builder.ts';
import type { Generation } from '../../src/generation.ts';
import type { Clock } from '../../src/kernel/clock.ts';
import { silentMeter } from '../../src/kernel/meter.ts';
import { systemRandomness } from '../../src/kernel/randomness.ts';
import { createProvider } from '../../src/provider/oidc-provider.ts';
import { createPublicServer } from '../../src/proxy/server.ts';
import { createMemoryStore } from '../../src/session/memory-store.ts';
import { createSealing } from '../../src/session/sealing.ts';
import { createSessions } from '../../src/session/sessions.ts';
import type { Store } from '../../src/session/types.ts';
import { freePort } from '../support/ports.ts';
import { startOp, type OpOptions, type TestOp } from '../support/op.ts';
import { until } from '../support/until.ts';
import { UserAgent, type UserAgentResponse } from '../support/user-agent.ts';

type SourceInput = ConfigInput['sources'][number];

export interface HouseOptions {
  /** By source id: what differs from the plain one. Default: one source, `main`. */
  readonly sources?: Readonly<Record<string, Partial<SourceInput>>>;
  readonly config?: Partial<ConfigInput>;
  readonly op?: OpOptions;
  /** `server.rate_limit.sign_in`; default: enough for any test. */
  readonly signInRate?: string;
  /** Stands between Sallyport and its store. */
  readonly wrapStore?: (store: Store) => Store;
}

/** Everything under the prefix, on a real socket, with a real OP; behind it a forge. */
export interface House {
  readonly origin: string;
  readonly op: TestOp;
  readonly audit: AuditEvent[];
  /** What was counted: `signIn main succeeded`, `sessionEnded replaced` … */
  readonly counted: string[];
  readonly faults: unknown[];
  /** Moves the product's clock (not the OP's). */
  clock: { offsetMs: number };
  readonly generation: Generation;
  /** Swaps in another configuration of the sources. */
  reload(sources: Readonly<Record<string, Partial<SourceInput>>>): Promise<void>;
  actions(): readonly string[];
  close(): Promise<void>;
}

export const prefix = '/_sallyport';

export async function openHouse(options: HouseOptions = {}): Promise<House> {
  const port = await freePort();
  const origin = `http://127.0.0.1:${port}`;
  const given = options.sources ?? { main: {} };
  const op = await startOp({
    clients: Object.keys(given).map((id) => ({
      client_id: id,
      client_secret: `secret of ${id}, long enough to be one`,
      redirect_uris: [`${origin}${prefix}/callback/${id}`],
      post_logout_redirect_uris: [`${origin}${prefix}/signed-out`],
    })),
    ...options.op,
  });
  const forge = createServer((request, response) => response.end(`the forge: ${request.url}`));
  await once(forge.listen(0, '127.0.0.1'), 'listening');
  const offset = { offsetMs: 0 };
  const clock: Clock = { nowMs: () => Date.now() + offset.offsetMs };
  const counted: string[] = [];
  const meter = new Proxy(silentMeter, {
    get:
      (_target, name) =>
      (...values: unknown[]) =>
        counted.push(
          [name, ...values]
            .map((value) =>
              typeof value === 'object' ? JSON.stringify(value) : `${value as string | number}`,
            )
            .join(' '),
        ),
  });
  const memory = createMemoryStore(clock);
  const store = options.wrapStore?.(memory) ?? memory;
  const sealing = createSealing([Buffer.alloc(32, 7)], systemRandomness);
  const sessions = createSessions({
    store,
    sealing,
    clock,
    randomness: systemRandomness,
    meter,
    idleTimeoutMs: 3_600_000,
    absoluteTimeoutMs: 86_400_000,
    maxCached: 100,
    cacheMs: 5000,
    outageGraceMs: 0,
  });

  const build = async (sources: Readonly<Record<string, Partial<SourceInput>>>): Promise<Generation> => {
    const config = configSchema.parse({
      server: { public_url: origin, rate_limit: { sign_in: options.signInRate ?? '1000/1m' } },
      upstream: { url: `http://127.0.0.1:${(forge.address() as AddressInfo).port}` },
      session: { secrets: ['x'.repeat(32)] },
      ...options.config,
      sources: Object.entries(sources).map(([id, source]) => ({
        id,
        issuer: op.issuer,
        client_id: id,
        client_secret: `secret of ${id}, long enough to be one`,
        ...source,
      })),
    });
    const built = buildGeneration(config, {
      providerOf: (source, policy) =>
        createProvider(source, policy, {
          clock,
          randomness: systemRandomness,
          meter,
          logWarning: () => undefined,
        }),
      identityHeaders: { names: [], headersFor: () => [] },
    });
    for (const { provider } of built.sources.values()) void provider.start();
    return built;
  };

  const audit: AuditEvent[] = [];
  const faults: unknown[] = [];
  let generation = await build(given);
  const app = await createPublicServer(generation.config, {
    generations: { current: () => generation },
    sessions,
    render: createRenderer({ clock }),
    registerEndpoints: (scope) =>
      registerEndpoints(scope, {
        sealing,
        store,
        sessions,
        audit: { write: (event) => audit.push(event) },
        meter,
        clock,
        randomness: systemRandomness,
        logFault: (error) => faults.push(error),
        jwks: () => ({ keys: [{ kty: 'EC', kid: 'one' }] }),
      }),
    accessLog: undefined,
    logFault: (error) => faults.push(error),
    logWarning: () => undefined,
    meter,
    clock,
    randomness: systemRandomness,
  });
  const house: House = {
    origin,
    op,
    audit,
    counted,
    faults,
    clock: offset,
    get generation() {
      return generation;
    },
    async reload(sources) {
      const before = generation;
      generation = await build(sources);
      await Promise.all([...before.sources.values()].map(({ provider }) => provider.close()));
      await providersUp(generation);
    },
    actions: () => audit.map(({ action }) => action),
    async close() {
      await app.close();
      await Promise.all([...house.generation.sources.values()].map(({ provider }) => provider.close()));
      await op.stop();
      forge.close();
      forge.closeAllConnections();
      await store.close();
    },
  };

  await app.listen({ port, host: '127.0.0.1' });
  await providersUp(house.generation, options.sources);
  return house;
}

async function providersUp(generation: Generation, sources: HouseOptions['sources'] = {}): Promise<void> {
  for (const { config, provider } of generation.sources.values()) {
    if (sources[config.id]?.issuer === undefined) {
      await until(() => provider.status().available, `discovery of ${config.id}`);
    }
  }
}

/** Signs in by navigating; the last answer of the way. */
export async function signIn(house: House, agent: UserAgent, query = ''): Promise<UserAgentResponse> {
  return (await agent.follow(`${house.origin}${prefix}/signin${query}`)).last;
}

/** Goes to the IdP and comes back, and stops before the callback is called: its URL. */
export async function untilCallback(house: House, agent: UserAgent, query = ''): Promise<string> {
  const { last } = await agent.follow(`${house.origin}${prefix}/signin${query}`, {
    until: (url) => url.startsWith(`${house.origin}${prefix}/callback/`),
  });
  if (last.location === undefined) throw new Error(`no callback: ${last.status} ${last.body}`);
  return last.location;
}

export async function whoami(house: House, agent: UserAgent): Promise<UserAgentResponse> {
  return agent.request('GET', `${house.origin}${prefix}/whoami`);
}
