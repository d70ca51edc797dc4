import t from 'tap';
import type { Config } from '../../src/config/schema.ts';
import { parseConfig } from '../../src/config/load.ts';
import type { ReloadCause, ReloadOutcome } from '../../src/reload/outcome.ts';
import type { InForce, Member } from '../../src/workers/fleet.ts';
import { packConfig, unpackConfig } from '../../src/workers/config-transfer.ts';
import { createRollout } from '../../src/workers/rollout.ts';

const by: ReloadCause = { trigger: 'command', actor: 'alice' };
const applied: ReloadOutcome = { result: 'applied', restartRequired: [], warnings: [] };
const refused: ReloadOutcome = { result: 'refused', report: 'the key can not be read\n' };

function configOf(name: string): Config {
  const loaded = parseConfig(
    `server: { public_url: "https://forge.example.com", workers: 2 }
upstream: { url: "http://127.0.0.1:3000" }
session: { secrets: [0123456789abcdef0123456789abcdef], redis: { url: "redis://r:6379", password: a-password } }
sources: [{ id: idp, issuer: "https://idp.example.com", client_id: forge, client_secret: a-secret, display_name: ${name}, mfa: { requested_claims: { id_token: { acr: { essential: true, values: [a] } } }, aal2_acr_values: [a] } }]
`,
    'sallyport.yaml',
    {},
  );
  if (!loaded.ok) throw new Error(loaded.report);
  return loaded.config;
}

/** Workers that do as they are told to. */
function stand(outcomes: readonly (ReloadOutcome | undefined)[]) {
  const members = outcomes.map((outcome, index) => ({ pid: index, state: 'ready', version: 1, outcome }));
  const retired: Member[] = [];
  const asked: Member[] = [];
  const told: string[] = [];
  const taken: string[] = [];
  const rollout = createRollout(configOf('one'), 'root', {
    fleet: {
      ready: () => members as unknown as readonly Member[],
      retire: (member) => void retired.push(member),
      reload(member, { version }: InForce) {
        asked.push(member);
        const { outcome } = member as unknown as { outcome: ReloadOutcome | undefined };
        if (outcome?.result === 'applied') (member as { version: number }).version = version;
        return Promise.resolve(outcome);
      },
    },
    prepare: () => ({ take: () => void taken.push('take'), leave: () => void taken.push('leave') }),
    tell: { applied: () => void told.push('applied'), refused: (report) => void told.push(report) },
  });
  const pids = (list: readonly Member[]) => list.map(({ pid }) => pid);
  return { rollout, retired: () => pids(retired), asked: () => pids(asked), told, taken, members };
}

const nameIn = ({ config }: InForce) => unpackConfig(config).sources[0]?.display_name;

t.test('what all take is in force, told once', async (t) => {
  const { rollout, retired, asked, told, taken } = stand([applied, applied, applied]);
  t.match(await rollout.reload({ ok: true, config: configOf('two'), warnings: ['beware'] }, by), {
    result: 'applied',
    warnings: ['beware'],
  });
  t.same(asked(), [0, 1, 2]);
  t.same([retired(), told, taken], [[], ['applied'], ['take']]);
  t.equal(nameIn(rollout.inForce()), 'two');
});

t.test('what the first refuses reaches no other, and changes nothing', async (t) => {
  const { rollout, retired, asked, told, taken } = stand([refused, applied]);
  t.same(await rollout.reload({ ok: true, config: configOf('two'), warnings: [] }, by), refused);
  t.same([asked(), retired(), taken], [[0], [], ['leave']]);
  t.same(told, ['the key can not be read\n']);
  t.equal(nameIn(rollout.inForce()), 'one');
});

t.test('what the first dies of is refused', async (t) => {
  const { rollout, retired, asked } = stand([undefined, applied]);
  t.match(await rollout.reload({ ok: true, config: configOf('two'), warnings: [] }, by), {
    result: 'refused',
  });
  t.same([asked(), retired()], [[0], [0]], 'and it must not stay, if it lives: it may have taken it');
  t.equal(nameIn(rollout.inForce()), 'one');
});

t.test('who does not take what the first has taken is replaced', async (t) => {
  const { rollout, retired } = stand([applied, refused, undefined, applied]);
  t.match(await rollout.reload({ ok: true, config: configOf('two'), warnings: [] }, by), {
    result: 'applied',
  });
  t.same(retired(), [1, 2]);
  t.equal(nameIn(rollout.inForce()), 'two');
});

t.test('a file that does not validate reaches no worker', async (t) => {
  const { rollout, asked, told } = stand([applied]);
  t.same(await rollout.reload({ ok: false, report: 'one mistake\n', faults: [] }, by), {
    result: 'refused',
    report: 'one mistake\n',
  });
  t.same([asked(), told], [[], ['one mistake\n']]);
});

t.test('a worker that started with what was in force a moment ago is brought up', async (t) => {
  const { rollout, asked, members } = stand([applied, applied]);
  await rollout.reload({ ok: true, config: configOf('two'), warnings: [] }, by);
  const late = { pid: 7, state: 'ready' as const, version: 1, outcome: applied };
  rollout.catchUp(late);
  rollout.catchUp(members[0] as unknown as Member);
  await rollout.reload({ ok: false, report: '', faults: [] }, by);
  t.same(asked(), [0, 1, 7], 'those that have it are left alone');
});

t.test(
  'a configuration arrives as it was, its secrets with it, and shows none on the way but where they are meant to be',
  async (t) => {
    const config = configOf('one');
    const packed = packConfig(config);
    t.notMatch(JSON.stringify(packed.plain), /a-secret|a-password|0123456789abcdef/);
    const arrived = unpackConfig(structuredClone(packed));
    t.same(JSON.parse(JSON.stringify(arrived)), JSON.parse(JSON.stringify(config)));
    t.equal(arrived.sources[0]?.client_secret?.reveal(), 'a-secret');
    t.equal(arrived.session.redis?.password?.reveal(), 'a-password');
    t.equal(arrived.session.secrets?.[0]?.reveal(), '0123456789abcdef0123456789abcdef');
    t.ok(Object.isFrozen(arrived.sources[0]));
  },
);
