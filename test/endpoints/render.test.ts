import t from 'tap';
import { refusalOfError } from '../../src/endpoints/faults.ts';
import { createRenderer } from '../../src/endpoints/render.ts';
import type { Generation } from '../../src/generation.ts';
import { SallyportError } from '../../src/kernel/error.ts';
import type { Refusal } from '../../src/kernel/refusal.ts';
import type { RequestFacts } from '../../src/kernel/request-facts.ts';
import { configSchema } from '../../src/config/schema.ts';
import { resolvePolicy } from '../../src/assurance/policy.ts';

const config = configSchema.parse({
  server: { public_url: 'https://forge.example.com' },
  upstream: { url: 'http://127.0.0.1:3000' },
  session: { secrets: ['x'.repeat(32)] },
  sources: [
    {
      id: 'main',
      display_name: 'Example IdP',
      issuer: 'https://idp.example.com',
      client_id: 'forge',
      mfa_setup_url: 'https://idp.example.com/mfa',
    },
  ],
});
const [source] = config.sources;
const generation = {
  config,
  publicOrigins: config.server.public_url,
  sources: new Map([['main', { config: source, policy: resolvePolicy(source!.mfa, source!).policy }]]),
} as unknown as Generation;
const facts: RequestFacts = {
  id: 'request-1',
  traceparent: undefined,
  method: 'GET',
  rawTarget: '/org/repo?tab=<b>',
  origin: 'https://forge.example.com',
  clientIp: '192.0.2.1',
  navigation: true,
  upgrade: false,
};
const render = createRenderer({ clock: { nowMs: () => Date.UTC(2026, 10, 21) } });
const page = (refusal: Refusal, more: Partial<RequestFacts> = {}) =>
  render(refusal, { ...facts, ...more }, generation);

t.test('a navigation gets a page, everything else JSON, a redirect its Location', async (t) => {
  const refusal: Refusal = { status: 403, code: 'route_denied', body: { hint: 'x', error: 'overwritten?' } };
  const html = page(refusal);
  t.equal(html.status, 403);
  t.match(html.body, '<h1>This page is closed</h1>');
  t.match(html.body, 'request-1');
  t.match(html.body, '2026-11-21T00:00:00.000Z');
  const json = page(refusal, { navigation: false });
  t.equal(json.headers['content-type'], 'application/json; charset=utf-8');
  t.same(JSON.parse(json.body), {
    hint: 'x',
    error: 'route_denied',
    message: 'It cannot be opened from here by anyone.',
    request_id: 'request-1',
  });
  const redirect = page({
    status: 302,
    code: 'session_required',
    location: '/_sallyport/signin?return_to=%2F',
  });
  t.equal(redirect.headers['location'], '/_sallyport/signin?return_to=%2F');
  t.equal(redirect.body, '');
  for (const answer of [html, json, redirect]) {
    t.match(answer.headers, { 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' });
    t.ok(answer.headers['content-security-policy']?.startsWith("default-src 'none'"));
  }
});

t.test('the headers of a refusal go along', async (t) => {
  const refusal: Refusal = { status: 503, code: 'store_unavailable', headers: { 'retry-after': '5' } };
  t.equal(page(refusal).headers['retry-after'], '5');
  t.equal(page(refusal, { navigation: false }).headers['retry-after'], '5');
});

t.test('a form that meets an expired session: sign in in a new tab, come back, send again', async (t) => {
  const refusal: Refusal = { status: 401, code: 'session_required' };
  const answer = page(refusal, { method: 'POST', navigation: false, formNavigation: true });
  t.equal(answer.status, 401);
  t.match(answer.body, 'Sign in in a new tab, come back here, and send the form again:');
  t.match(answer.body, /href="\/_sallyport\/signin\?return_to=%2F"\s+target="_blank" rel="noopener"/);
  t.equal(answer.headers['location'], undefined);
});

t.test('a program is told of no form and no tab', async (t) => {
  for (const code of ['session_required', 'session_not_sufficient', 'insufficient_user_authentication']) {
    const answer = page({ status: 401, code }, { method: 'POST', navigation: false });
    const { message } = JSON.parse(answer.body) as { message: string };
    t.match(message, /sign in/);
    t.notMatch(message, /form|tab/);
  }
});

t.test(
  'signed in, asked once, and still too little: the MFA page for a person, JSON for a program',
  async (t) => {
    for (const code of [
      ...['aal2_required', 'attested_not_accepted'],
      ...['auth_too_old', 'auth_time_missing', 'auth_time_in_future'],
    ]) {
      const { body } = page({ status: 403, code, body: { source: 'main', observed: { amr: ['pwd'] } } });
      t.match(body, '<h1>MFA was not asserted</h1>');
      t.match(body, 'You are signed in through Example IdP');
      t.match(body, 'href="https://idp.example.com/mfa"');
      t.match(body, 'return_to=%2Forg%2Frepo%3Ftab%3D%253Cb%253E', 'back to the page that was asked for');
      t.match(body, '[&quot;pwd&quot;]');
      t.match(body, code);
    }
    const bare = page({ status: 403, code: 'aal2_required' });
    t.match(bare.body, 'Example IdP', 'the only source there is');
    t.notMatch(bare.body, 'not sent', 'what is not known is not called absent');
    const json = page(
      { status: 401, code: 'insufficient_user_authentication', body: { acr_values: 'c2' } },
      { navigation: false },
    );
    t.match(JSON.parse(json.body), { error: 'insufficient_user_authentication', acr_values: 'c2' });
  },
);

t.test('what the client sent is never repeated unescaped, nor taken for an address', async (t) => {
  for (const rawTarget of [
    '/<script>',
    '//evil.example/x',
    '/\\evil.example',
    'https://evil.example/',
    '/_sallyport/signout',
  ]) {
    for (const status of [400, 404, 429, 502, 503, 504]) {
      const { body } = page({ status, code: 'x' }, { rawTarget });
      t.notMatch(body, '<script');
      t.notMatch(body, 'evil.example');
    }
  }
});

t.test('a fault is answered by its public half, an exception by a request id', async (t) => {
  const fault = new SallyportError('store_unavailable', 'redis at 10.0.0.1 refused', {
    cause: new Error('secret'),
  });
  t.same(refusalOfError(fault), { status: 503, code: 'store_unavailable', headers: { 'retry-after': '5' } });
  const refusal = refusalOfError(new TypeError('x is not a function'));
  t.same(refusal, { status: 500, code: 'internal' });
  for (const navigation of [true, false]) {
    const { body } = page(refusal, { navigation });
    t.match(body, 'request-1');
    t.notMatch(body, 'not a function');
  }
  t.same(refusalOfError('thrown text'), { status: 500, code: 'internal' });
  t.same(refusalOfError(Object.assign(new Error('x'), { statusCode: 302 })), {
    status: 500,
    code: 'internal',
  });
});
