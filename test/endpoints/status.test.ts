import t, { type Test } from 'tap';
import { SallyportError } from '../../src/kernel/error.ts';
import type { Store } from '../../src/session/types.ts';
import { operatorRules } from '../../src/endpoints/operators.ts';
import { UserAgent } from '../support/user-agent.ts';
import { until } from '../support/until.ts';
import { openHouse, prefix, signIn, type House, type HouseOptions } from './house.ts';

const hourMs = 3_600_000;

interface StatusJson {
  readonly store_available: boolean;
  readonly sources: readonly {
    readonly id: string;
    readonly policy: Record<string, unknown>;
    readonly idp: { readonly up: boolean };
    readonly verdicts?: readonly {
      hour: string;
      outcome: string;
      reason: string;
      strength: string;
      count: number;
    }[];
    readonly refusals?: readonly {
      at: string;
      outcome: string;
      reason: string;
      user: { id: string };
      observed: unknown;
      required: unknown;
      hint: string;
    }[];
  }[];
}

async function open(t: Test, options: HouseOptions = {}) {
  const house = await openHouse({
    sources: { main: { mfa: { mode: 'report_only' } } },
    ...options,
    config: { operators: [{ source: 'main', emails: ['alice@example.com'] }], ...options.config },
  });
  t.teardown(() => house.close());
  const operator = new UserAgent();
  const alice = house.op.nextLogin;
  await signIn(house, operator, '?source=main');
  const status = async (path = '?format=json') =>
    operator.request('GET', `${house.origin}${prefix}/status${path}`, { navigate: true });
  const json = async () => (await status()).json() as StatusJson;
  return { house, operator, alice, status, json };
}

/** Somebody signs in, with whatever there is in amr. */
async function visit(house: House, sub: string, amr: unknown): Promise<void> {
  house.op.nextLogin = {
    sub,
    amr,
    claims: { email: `${sub}@example.com`, email_verified: true, preferred_username: sub },
  };
  await signIn(house, new UserAgent(), '?source=main');
}

t.test('counts verdicts by the hour, and keeps who was or would have been refused, and why', async (t) => {
  const { house, json, status } = await open(t);
  await visit(house, 'bob', ['pwd']);
  await visit(house, 'carol', ['kba']);
  await visit(house, 'dave', undefined);
  const found = await until(async () => {
    const now = await json();
    return now.sources[0]?.verdicts?.length === 4 && now.sources[0].refusals?.length === 2 ? now : undefined;
  }, 'the four sign-ins are counted');
  const [source] = found.sources;
  t.match(found, {
    store_available: true,
    sources: [{ id: 'main', idp: { up: true }, policy: { preset: 'generic', mode: 'report_only' } }],
  });
  t.same(
    source?.verdicts
      ?.map(({ outcome, reason, strength, count }) => [outcome, reason, strength, count])
      .sort(),
    [
      ['verified', 'none', 'strict', 1],
      ['verified', 'none', 'weak', 1],
      ['would_reject', 'amr_not_mfa', 'none', 1],
      ['would_reject', 'mfa_claims_absent', 'none', 1],
    ],
  );
  t.match(source?.verdicts?.[0]?.hour, /:00:00\.000Z$/);
  t.match(source?.refusals, [
    { outcome: 'would_reject', reason: 'mfa_claims_absent', user: { id: 'dave', email: 'dave@example.com' } },
    {
      outcome: 'would_reject',
      reason: 'amr_not_mfa',
      user: { id: 'bob' },
      observed: { amr: ['pwd'] },
      required: { accept: 'amr', aal2_amr_values: 'standard' },
      hint: /aal2_amr_values/,
    },
  ]);

  const page = await status('');
  t.equal(page.status, 200);
  t.match(page.headers['content-type'], 'text/html');
  t.notMatch(page.body, / style=|<script/, 'nothing that the CSP would stop');
  t.match(
    page.body,
    /aria-label="Sign-ins through main by verdict, 14 days: MFA verified 1, Verified on weak evidence 1, Let in, would be refused 2\./,
  );
  t.equal(page.body.match(/<rect/g)?.length, 3);
  t.match(page.body, /<p class="axis"><span>[\d :-]+<\/span><span>now<\/span>/, 'the last stretch goes on');
  t.match(page.body, /bob@example\.com/);
  t.match(page.body, /would be refused/);
  t.match(page.body, /kept in the memory of this process/);
  t.equal((await status('?range=hours')).body.match(/<rect/g)?.length, 3);
});

t.test('a machine gets JSON by Accept, a browser a page, a stranger neither', async (t) => {
  const { house, operator } = await open(t);
  const url = `${house.origin}${prefix}/status`;
  const answer = await operator.request('GET', url, { headers: { accept: 'application/json' } });
  t.equal(answer.headers['content-type'], 'application/json; charset=utf-8');
  t.equal(answer.headers['cache-control'], 'no-store');
  t.match((await operator.request('GET', url)).headers['content-type'], 'text/html');
  const nobody = new UserAgent();
  t.equal((await nobody.request('GET', `${url}?format=json`)).status, 401);
  const sent = await nobody.request('GET', url, { navigate: true });
  t.equal(new URL(sent.location!).searchParams.get('return_to'), `${prefix}/status`);
});

t.test('what is older than 14 days is gone, and there are never more than 50 refusals', async (t) => {
  const { house, json, operator, alice } = await open(t);
  await visit(house, 'early', ['pwd']);
  await until(async () => (await json()).sources[0]?.refusals?.length === 1, 'the first is kept');
  // The product's clock moves, the OP's with it.
  const move = (ms: number) => {
    house.clock.offsetMs = ms;
    house.op.tamperIdToken = ({ claims }) => ({
      claims: { ...claims, iat: Number(claims['iat']) + ms / 1000, exp: Number(claims['exp']) + ms / 1000 },
    });
  };
  move(14 * 24 * hourMs);
  for (let index = 0; index < 52; index += 1) await visit(house, `u${index}`, ['pwd']);
  house.op.nextLogin = alice;
  await signIn(house, operator, '?source=main');
  const found = await until(async () => {
    const [source] = (await json()).sources;
    return source?.refusals?.[0]?.user.id === 'u51' ? source : undefined;
  }, 'the last is kept');
  t.equal(found.refusals?.length, 50);
  t.equal(found.refusals?.at(-1)?.user.id, 'u2');
  t.same(
    found.verdicts
      ?.filter(({ outcome }) => outcome === 'would_reject')
      .map(({ count }) => count)
      .reduce((a, b) => a + b),
    52,
    'of the early one nothing is left',
  );
});

t.test('a claim as long as a book is kept as a line', async (t) => {
  const { house, json } = await open(t);
  await visit(house, 'long', ['x'.repeat(50_000)]);
  const refusals = await until(async () => {
    const found = (await json()).sources[0]?.refusals;
    return found?.length === 1 ? found : undefined;
  }, 'it is kept');
  t.ok(JSON.stringify(refusals).length < 6000);
});

t.test('with the store down the page says so, and nobody fails to sign in because of it', async (t) => {
  let down = false;
  const { house, status, json } = await open(t, {
    wrapStore: (store): Store => {
      // Only where the numbers are: with the rest of the store down there could be no sign-in either.
      const fail = (key: string): void => {
        if (down && key.startsWith('ledger:')) throw new SallyportError('store_unavailable', 'down');
      };
      return {
        ...store,
        count: async (key, ...args) => (fail(key), store.count(key, ...args)),
        counts: async (key) => (fail(key), store.counts(key)),
        prepend: async (key, ...args) => (fail(key), store.prepend(key, ...args)),
        list: async (key) => (fail(key), store.list(key)),
      };
    },
  });
  down = true;
  const page = await status('');
  t.equal(page.status, 200);
  t.match(page.body, /The session store cannot be read right now/);
  t.match(page.body, /preset generic, mode report_only/, 'policy and state are shown all the same');
  t.match(await json(), { store_available: false, sources: [{ id: 'main', idp: { up: true } }] });
  const before = house.actions().length;
  await visit(house, 'bob', ['pwd']);
  t.same(house.actions().slice(before), ['tenant.auth_policy.oidc_mfa.would_reject', 'signin.succeeded']);
  t.same(house.faults, []);
});

t.test('operators without a source are those of the only one, and nobody where there are several', (t) => {
  const of = (...ids: readonly string[]) =>
    operatorRules({
      config: { operators: [{ emails: ['a@example.com'] }, { source: 'two', groups: ['ops'] }] },
      sources: new Map(ids.map((id) => [id, {}])),
    } as unknown as Parameters<typeof operatorRules>[0]).map(({ source }) => source);
  t.same(of('one'), ['one', 'two']);
  t.same(of('one', 'two'), [undefined, 'two']);
  t.end();
});
