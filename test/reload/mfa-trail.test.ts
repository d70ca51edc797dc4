import t from 'tap';
import type { AuditEvent } from '../../src/audit/types.ts';
import { configSchema, type ConfigInput } from '../../src/config/schema.ts';
import type { SourceConfig } from '../../src/config/schema.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { silentMeter } from '../../src/kernel/meter.ts';
import { systemRandomness } from '../../src/kernel/randomness.ts';
import { createMfaTrail, type MfaTrail } from '../../src/reload/mfa-trail.ts';
import { createMemoryStore } from '../../src/session/memory-store.ts';
import { createSealing } from '../../src/session/sealing.ts';
import { createStore } from '../../src/session/store.ts';
import type { Store } from '../../src/session/types.ts';
import { startRedis } from '../support/redis.ts';
import { until } from '../support/until.ts';

type Mfa = NonNullable<ConfigInput['sources'][number]['mfa']>;

const secret = Buffer.alloc(32, 5);
const author = { actor: 'alice', actorFrom: 'command', ref: '4f1c2a9' } as const;

function sourcesOf(all: Readonly<Record<string, Mfa>>): readonly SourceConfig[] {
  return configSchema.parse({
    server: { public_url: 'https://forge.example.com' },
    upstream: { url: 'http://127.0.0.1:3000' },
    session: { secrets: ['x'.repeat(32)] },
    sources: Object.entries(all).map(([id, mfa]) => ({
      id,
      issuer: `https://${id}.example.com`,
      client_id: 'forge',
      tenant: 'acme',
      mfa,
    })),
  }).sources;
}

const enforce = sourcesOf({ idp: { mode: 'enforce' } });
const rehearse = sourcesOf({ idp: { mode: 'report_only' } });

/** One replica's trail, and what it wrote. */
function openTrail(
  store: Store,
  options: { lasting?: boolean; secrets?: readonly Buffer[]; events?: AuditEvent[] } = {},
) {
  const events = options.events ?? [];
  const trail = createMfaTrail({
    store,
    sealing: createSealing(options.secrets ?? [secret], systemRandomness),
    audit: { write: (event) => events.push(event) },
    clock: systemClock,
    randomness: systemRandomness,
    logWarning: () => undefined,
    logFault: (error) => {
      throw error;
    },
    lasting: options.lasting ?? true,
    retryMs: 20,
  });
  return { trail, events };
}

const modes = (events: readonly AuditEvent[]): readonly string[] =>
  events.map(({ authSource, fields }) => {
    const { previous, next } = fields as Record<string, { mode: string } | null>;
    return `${authSource}: ${previous?.mode ?? 'none'} > ${next?.mode ?? 'none'}`;
  });

/** Nothing is under way any more, also not after a lost claim. */
async function settle(...trails: readonly MfaTrail[]): Promise<void> {
  for (let quiet = 0; quiet < 3; quiet += 1) {
    await Promise.all(trails.map((trail) => trail.settled()));
    await new Promise((resolve) => setTimeout(resolve, 150));
  }
}

t.test('one event for each change, whoever applies it', async (t) => {
  const redis = await startRedis();
  const connect = (): Store =>
    createStore(
      { redis: { url: redis.url } as never },
      { clock: systemClock, meter: silentMeter, logWarning: () => undefined },
    );
  const stores = [connect(), connect()];
  t.teardown(async () => {
    for (const store of stores) await store.close();
    await redis.stop();
  });
  // In the order in which they are written.
  const events: AuditEvent[] = [];
  const [a, b] = stores.map((store) => openTrail(store, { events }));
  const told = () => modes(events);
  const both = async (now: readonly SourceConfig[], before: readonly SourceConfig[] | undefined) => {
    a!.trail.applied(now, before, author);
    b!.trail.applied(now, before, author);
    await settle(a!.trail, b!.trail);
  };

  await both(enforce, undefined);
  t.strictSame(told(), ['idp: none > enforce'], 'the first start of all');
  await both(rehearse, enforce);
  t.strictSame(told().slice(1), ['idp: enforce > report_only']);
  await both(enforce, rehearse);
  await both(rehearse, enforce);
  t.strictSame(
    told().slice(2),
    ['idp: report_only > enforce', 'idp: enforce > report_only'],
    'back and forth: one each',
  );
  const event = events.find(({ fields }) => fields['previous'] !== null);
  t.match(event, {
    action: 'sso.auth-source.oidc-mfa-config.update',
    tenant: 'acme',
    fields: {
      previous: { acr_values: [], require_oidc_amr_mfa: true, mode: 'enforce', preset: 'generic' },
      next: { require_oidc_amr_mfa: false, aal2_amr_values: 'standard', accept: 'amr' },
      actor: 'alice',
      actor_from: 'command',
      ref: '4f1c2a9',
    },
  });

  t.test('a restart with the same mfa, of one or of all, tells nothing; with another, once', async (t) => {
    const restarted = [openTrail(stores[0]!), openTrail(stores[1]!)];
    for (const { trail } of restarted) trail.applied(rehearse, undefined, author);
    await settle(...restarted.map(({ trail }) => trail));
    t.strictSame(
      restarted.flatMap(({ events }) => events),
      [],
    );
    const changed = [openTrail(stores[0]!), openTrail(stores[1]!)];
    for (const { trail } of changed) trail.applied(enforce, undefined, author);
    await settle(...changed.map(({ trail }) => trail));
    t.strictSame(modes(changed.flatMap(({ events }) => events)), ['idp: report_only > enforce']);
  });

  t.test('sources come and go', async (t) => {
    const two = sourcesOf({ idp: { mode: 'enforce' }, second: { mode: 'carry_over' } });
    const from = told().length;
    await both(two, enforce);
    await both(enforce, two);
    t.strictSame(told().slice(from).sort(), ['second: carry_over > none', 'second: none > carry_over']);
  });

  t.test('the store is down at that moment: told when it is back, each change once', async (t) => {
    const from = told().length;
    await redis.stop();
    a!.trail.applied(rehearse, enforce, author);
    b!.trail.applied(rehearse, enforce, author);
    a!.trail.applied(enforce, rehearse, author);
    b!.trail.applied(enforce, rehearse, author);
    await new Promise((resolve) => setTimeout(resolve, 200));
    t.equal(told().length, from);
    await redis.restart();
    await until(() => told().length >= from + 2, 'both changes are told');
    await settle(a!.trail, b!.trail);
    t.strictSame(told().slice(from).sort(), ['idp: enforce > report_only', 'idp: report_only > enforce']);
  });

  t.test('the store can read none of it, and a new secret takes it over', async (t) => {
    t.notMatch((await redis.dump()).join('\n'), /report_only|carry_over/);
    const newer = Buffer.alloc(32, 6);
    const rolled = openTrail(stores[0]!, { secrets: [newer, secret] });
    rolled.trail.applied(enforce, undefined, author);
    await settle(rolled.trail);
    const alone = openTrail(stores[0]!, { secrets: [newer] });
    alone.trail.applied(enforce, undefined, author);
    await settle(alone.trail);
    t.strictSame([...rolled.events, ...alone.events], []);
  });
});

t.test('a replica that gets the same changes a minute later tells none of them again', async (t) => {
  const store = createMemoryStore(systemClock);
  const [a, b] = [openTrail(store), openTrail(store)];
  for (const { trail } of [a, b]) trail.applied(enforce, undefined, author);
  await settle(a.trail, b.trail);
  a.trail.applied(rehearse, enforce, author);
  a.trail.applied(enforce, rehearse, author);
  await settle(a.trail);
  b.trail.applied(rehearse, enforce, author);
  b.trail.applied(enforce, rehearse, author);
  await settle(b.trail);
  t.strictSame(modes([...a.events, ...b.events]), [
    'idp: none > enforce',
    'idp: enforce > report_only',
    'idp: report_only > enforce',
  ]);
});

t.test('without a lasting store a start has nothing to compare with; a reload has', async (t) => {
  const { trail, events } = openTrail(createMemoryStore(systemClock), { lasting: false });
  trail.applied(enforce, undefined, author);
  trail.applied(enforce, enforce, author);
  trail.applied(rehearse, enforce, author);
  await settle(trail);
  t.strictSame(modes(events), ['idp: enforce > report_only']);
});
