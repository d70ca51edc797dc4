import { randomBytes } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { configSchema } from '../../src/config/schema.ts';
import { buildGeneration } from '../../src/assembly/generation-builder.ts';
import { createAssertionSigner } from '../../src/identity/assertion.ts';
import { createIdentityHeaders } from '../../src/identity/headers.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { silentMeter } from '../../src/kernel/meter.ts';
import { systemRandomness } from '../../src/kernel/randomness.ts';
import type { Provider } from '../../src/provider/types.ts';
import { encodeRecord } from '../../src/session/record.ts';
import { createSealing } from '../../src/session/sealing.ts';
import { createGate, type Gate } from '../../src/proxy/gate.ts';
import type { RequestFacts } from '../../src/kernel/request-facts.ts';
import { createSessions } from '../../src/session/sessions.ts';
import { createMemoryStore } from '../../src/session/memory-store.ts';
import type { SessionRecord, Store } from '../../src/session/types.ts';

/*
 * What opened sessions cost the process that holds them. Sessions as Entra ID makes them, with twenty-odd claims, five groups out of
 * two hundred, and tokens, come sealed out of a store that keeps nothing itself, are let in by the gate and given their
 * identity headers, as a request is, and are asked once more from memory. Run with --expose-gc; sends its numbers to the parent, or prints them.
 */

const sessionCount = Number(process.argv[2] ?? 100_000);
/** Opened beforehand and forgotten again: compiled code, buffers and the first heap pages are no session's. */
const warmUpCount = Number(process.argv[3] ?? 2_000);

export interface MemoryResult {
  readonly sessions: number;
  /** How many of them memory still served at the end. */
  readonly served: number;
  /** Bytes, after garbage collection, more than before. */
  readonly heap: number;
  readonly rss: number;
}

const nowSeconds = Math.floor(Date.now() / 1000);
const base64url = (bytes: number): string => randomBytes(bytes).toString('base64url');
function uuid(seed: number): string {
  const hex = seed.toString(16).padStart(12, '0');
  return `3f2504e0-4f89-41d3-9a0c-${hex}`;
}

/** A session's record as a sign-in with Entra ID makes it. */
function makeRecord(index: number): SessionRecord {
  const subject = base64url(32);
  const name = `Person Number ${index}`;
  const address = `person.number.${index}@example.com`;
  const groups = [0, 1, 2, 3, 4].map((at) => uuid((index * 7 + at * 31) % 200));
  const issuer = 'https://login.microsoftonline.com/9f8e7d6c-5b4a-4938-8271-605f4e3d2c1b/v2.0';
  return {
    version: 1,
    id: base64url(16),
    lineage: base64url(16),
    source: 'entra',
    issuer,
    clientId: '6731de76-14a6-49ae-97bc-6eba6914391e',
    identity: {
      subject,
      username: `person.number.${index}`,
      name,
      email: address,
      emailVerified: true,
      preferredUsername: address,
      groups,
    },
    claims: {
      ver: '2.0',
      iss: issuer,
      sub: subject,
      aud: '6731de76-14a6-49ae-97bc-6eba6914391e',
      exp: nowSeconds + 3600,
      iat: nowSeconds,
      nbf: nowSeconds,
      auth_time: nowSeconds - 60,
      acr: '1',
      acrs: ['c2', 'p1'],
      amr: ['pwd', 'mfa'],
      name,
      given_name: 'Person',
      family_name: `Number ${index}`,
      preferred_username: address,
      email: address,
      upn: address,
      oid: uuid(index),
      tid: '9f8e7d6c-5b4a-4938-8271-605f4e3d2c1b',
      sid: uuid(1_000_000 + index),
      nonce: base64url(32),
      rh: `0.${base64url(38)}.`,
      uti: base64url(16),
      idp: 'https://sts.windows.net/9f8e7d6c-5b4a-4938-8271-605f4e3d2c1b/',
      xms_edov: true,
      groups,
    },
    issuedAt: nowSeconds,
    authenticatedAt: nowSeconds,
    expiresAt: nowSeconds + 24 * 3600,
    forced: false,
    tokens: {
      idToken: base64url(900),
      accessToken: undefined,
      accessTokenExpiresAt: undefined,
      refreshToken: base64url(600),
    },
  };
}

const sealing = createSealing([randomBytes(32)], systemRandomness);
let asked = { cookieValue: '', index: 0 };
const store: Store = {
  ...createMemoryStore(systemClock),
  // Else it would hold whoever listens.
  listen: () => () => undefined,
  touch: () => Promise.resolve(true),
  get: () =>
    Promise.resolve({
      sealed: sealing.sealSession(asked.cookieValue, encodeRecord(makeRecord(asked.index))),
      ttlMs: 8 * 3_600_000 + 60_000,
    }),
};

function build(maxCached: number) {
  return createSessions({
    store,
    sealing,
    clock: systemClock,
    randomness: systemRandomness,
    meter: silentMeter,
    idleTimeoutMs: 8 * 3_600_000,
    absoluteTimeoutMs: 24 * 3_600_000,
    cacheMs: 3_600_000,
    outageGraceMs: 0,
    maxCached,
  });
}

const secret = randomBytes(32).toString('base64');
const config = configSchema.parse({
  server: { public_url: 'https://forge.example.com' },
  upstream: { url: 'http://127.0.0.1:3000', preset: 'forgejo' },
  session: { secrets: [secret] },
  sources: [
    {
      id: 'entra',
      issuer: makeRecord(0).issuer,
      client_id: makeRecord(0).clientId,
      client_secret: 'secret',
      mfa: { preset: 'entra_c2' },
    },
  ],
});
const signer = await createAssertionSigner({
  store: createMemoryStore(systemClock),
  sealing,
  audience: config.upstream.url,
  randomness: systemRandomness,
});

/** A request of this session, judged and given its identity, as the proxy does it. */
async function use(sessions: ReturnType<typeof build>, cookieValue: string): Promise<void> {
  const raw = { headers: { cookie: `__Host-sallyport=${cookieValue}` }, rawHeaders: [] };
  const { session, refusal } = await gate(sessions)(raw as unknown as IncomingMessage, facts, generation);
  if (session === undefined || refusal !== undefined)
    throw new Error(`not let in: ${JSON.stringify(refusal)}`);
  await generation.identityHeaders(session, facts.origin, Date.now());
}

const gates = new Map<ReturnType<typeof build>, Gate>();
function gate(sessions: ReturnType<typeof build>): Gate {
  let made = gates.get(sessions);
  if (made === undefined) gates.set(sessions, (made = createGate(sessions, systemClock)));
  return made;
}
const generation = buildGeneration(config, {
  providerOf: () => ({}) as Provider,
  identityHeaders: createIdentityHeaders(config.upstream, signer),
});
const facts: RequestFacts = {
  id: 'request',
  traceparent: undefined,
  method: 'GET',
  rawTarget: '/team/project',
  origin: 'https://forge.example.com',
  clientIp: '127.0.0.1',
  navigation: true,
  upgrade: false,
};

async function collect(): Promise<NodeJS.MemoryUsage> {
  if (globalThis.gc === undefined) throw new Error('run with --expose-gc');
  // Until nothing more comes of it: what another thread still works on is held for a moment.
  let usedBefore = Infinity;
  for (let round = 0; round < 20; round += 1) {
    globalThis.gc();
    await new Promise((resolve) => setTimeout(resolve, 20));
    const used = process.memoryUsage().heapUsed;
    if (round > 2 && Math.abs(usedBefore - used) < 32 * 1024) break;
    usedBefore = used;
  }
  return process.memoryUsage();
}

async function measure(): Promise<MemoryResult> {
  const openAll = async (sessions: ReturnType<typeof build>, count: number) => {
    const values: string[] = [];
    for (let index = 0; index < count; index += 1) {
      // A cookie comes out of a request's head: no part of a longer text.
      const cookieValue = Buffer.from(base64url(32), 'latin1').toString('latin1');
      asked = { cookieValue, index };
      await use(sessions, cookieValue);
      values.push(cookieValue);
    }
    return { sessions, values };
  };
  gates.delete((await openAll(build(warmUpCount), warmUpCount)).sessions);
  const before = await collect();
  const sessions = build(100_000);
  const { values } = await openAll(sessions, sessionCount);
  const served = values.filter((value) => sessions.peek(value) !== undefined).length;
  const after = await collect();
  // Still needed: nothing of it may be collected before it was measured.
  if (sessions.peek(values.at(-1) ?? '') === undefined) throw new Error('the last session is gone');
  return {
    sessions: sessionCount,
    served,
    heap: after.heapUsed + after.external - before.heapUsed - before.external,
    rss: after.rss - before.rss,
  };
}

const result = await measure();
if (process.send === undefined) console.log(JSON.stringify(result));
else process.send(result, () => process.disconnect());
