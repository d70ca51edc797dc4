import { PassThrough } from 'node:stream';
import axe from 'axe-core';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import t from 'tap';
import { type Demo, startDemo } from '../../src/demo/demo.ts';
import { findFreePort } from '../../src/demo/loopback-server.ts';
import { until } from '../support/until.ts';
import { launchChromium } from '../support/chromium.ts';

const audit = new PassThrough();
let trail = '';
audit.on('data', (chunk: Buffer) => {
  trail += chunk.toString('utf8');
});
const log = new PassThrough();
let logged = '';
log.on('data', (chunk: Buffer) => {
  logged += chunk.toString('utf8');
});

const demo: Demo = await startDemo({ port: (await findFreePort(0)) ?? 0, log, audit });
const browser: Browser = await launchChromium();
t.teardown(async () => {
  await browser.close();
  await demo.close();
});

const records = (): readonly Record<string, unknown>[] =>
  trail
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Record<string, unknown>);

/** Opens the demo in a fresh browser profile; everything that a page asks of another host is noted. */
async function visit(options: Parameters<Browser['newContext']>[0] = {}) {
  const context = await browser.newContext(options);
  context.setDefaultTimeout(45_000);
  const elsewhere: string[] = [];
  context.on('request', (request) => {
    const known = [demo.origin, demo.issuer].some((origin) => request.url().startsWith(`${origin}/`));
    if (!known && !request.url().startsWith('data:')) elsewhere.push(request.url());
  });
  const page = await context.newPage();
  await page.goto(`${demo.origin}/`);
  return { context, page, elsewhere };
}

const become = (page: Page, name: string): Promise<void> =>
  page.getByRole('button', { name: new RegExp(name) }).click();

const sessionCookies = async (context: BrowserContext): Promise<readonly string[]> =>
  (await context.cookies(demo.origin)).map(({ name }) => name).filter((name) => name === 'sallyport');

for (const [name, first, amr] of [
  ['Alice Archer', 'alice', ['pwd', 'otp', 'mfa']],
  ['Carol Çelik', 'carol', ['hwk', 'fpt']],
] as const) {
  t.test(`${name}, who has a second factor, gets in and sees their own name`, async (t) => {
    const { context, page, elsewhere } = await visit();
    await become(page, name);
    await page.waitForURL(`${demo.origin}/`);
    t.equal(await page.getByRole('heading', { level: 1 }).innerText(), `Hello, ${name}`);
    t.match(await page.locator('body').innerText(), 'Signature, issuer, audience and time verified');
    t.same(await sessionCookies(context), ['sallyport']);

    await page.getByRole('link', { name: /whoami/ }).click();
    const whoami = JSON.parse(await page.locator('body').innerText());
    t.equal(whoami.authenticator_assurance_level, 'aal2');
    t.equal(whoami.mfa.status, 'verified');
    t.equal(whoami.mfa.weak, false);
    t.equal(whoami.mfa.evidence.claim, 'amr');
    t.same(whoami.authentication_methods[0].upstream_amr, amr);
    t.equal(whoami.identity.username, first);
    t.equal(whoami.identity.name, name);
    t.same(elsewhere, [], 'nothing was asked of anybody else');
    await context.close();
  });
}

for (const [name, id, reason] of [
  ['Bob Baker', 'bob', 'amr_not_mfa'],
  ['Dana Dietrich', 'dana', 'amr_not_mfa'],
  ['Erin Évora', 'erin', 'mfa_claims_absent'],
] as const) {
  t.test(`${name}, of whom no second factor is signed, is told so and gets no session`, async (t) => {
    const { context, page } = await visit();
    await become(page, name);
    await page.getByRole('heading', { name: 'MFA was not asserted' }).waitFor();
    t.same(await sessionCookies(context), []);
    const whoami = await context.request.get(`${demo.origin}/_sallyport/whoami`);
    t.equal(whoami.status(), 401);
    const record = await until(() =>
      records().find(({ user }) => (user as { id?: string } | undefined)?.id === id),
    );
    t.equal(record['action'], 'tenant.auth_policy.oidc_mfa.rejected');
    t.equal(record['reason'], reason);
    await context.close();
  });
}

t.test('who was refused can come back as somebody else', async (t) => {
  const { context, page } = await visit();
  await become(page, 'Bob Baker');
  await page.getByRole('heading', { name: 'MFA was not asserted' }).waitFor();
  await page.getByRole('link', { name: /another account/i }).click();
  await become(page, 'Alice Archer');
  await page.waitForURL(`${demo.origin}/`);
  t.match(await page.getByRole('heading', { level: 1 }).innerText(), 'Alice');
  await context.close();
});

t.test('signing out ends the session here, and asks at the identity provider', async (t) => {
  const { context, page } = await visit();
  await become(page, 'Alice Archer');
  await page.getByRole('link', { name: 'Sign out' }).click();
  await page.getByRole('button', { name: /sign out/i }).click();
  await page.getByRole('button', { name: 'Yes, sign out' }).click();
  await page.waitForURL(/\/_sallyport\/signed-out/);
  t.same(await sessionCookies(context), []);
  const again = await context.request.get(`${demo.origin}/`, { maxRedirects: 0 });
  t.equal(again.status(), 401);
  await context.close();
});

t.test('Alice, an operator, sees in status who was refused, and tries a sign-in by the canary', async (t) => {
  const { context, page } = await visit();
  await become(page, 'Bob Baker');
  await page.getByRole('heading', { name: 'MFA was not asserted' }).waitFor();
  await page.getByRole('link', { name: /another account/i }).click();
  await become(page, 'Alice Archer');
  await page.waitForURL(`${demo.origin}/`);

  await page.goto(`${demo.origin}/_sallyport/status`);
  await until(
    async () => {
      await page.reload();
      return (await page.locator('body').innerText()).includes('bob@demo.example');
    },
    'the refusal is on the page',
    30_000,
  );
  await page.getByRole('link', { name: 'Run the canary' }).click();
  await become(page, 'Dana Dietrich');
  await page.getByRole('heading', { name: 'Canary: Demo identity provider' }).waitFor();
  t.match(
    await page.locator('body').innerText(),
    /AAL1.*\["pwd","kba"\].*does not name two kinds of factor/s,
  );
  await page.getByRole('link', { name: 'Status of all sources' }).click();
  t.equal(
    await page.getByRole('heading', { level: 1 }).innerText(),
    'Status',
    "Alice's session is as it was",
  );
  await context.close();
});

t.test('whoever is no operator sees neither', async (t) => {
  const { context, page } = await visit();
  await become(page, 'Carol');
  await page.waitForURL(`${demo.origin}/`);
  for (const path of ['status', 'canary/demo'])
    t.equal((await page.goto(`${demo.origin}/_sallyport/${path}`))?.status(), 403, path);
  await context.close();
});

t.test('a sign-in needs no script', async (t) => {
  const { context, page } = await visit({ javaScriptEnabled: false });
  await become(page, 'Bob Baker');
  await page.getByRole('link', { name: /another account/i }).click();
  await become(page, 'Carol');
  await page.waitForURL(`${demo.origin}/`);
  t.match(await page.content(), 'Hello, Carol Çelik');
  await context.close();
});

t.test('claiming to be somebody gets nowhere', async (t) => {
  const spoofed = { 'x-webauth-user': 'root', x_webauth_user: 'root', 'x-sallyport-assertion': 'x' };
  const stranger = await fetch(`${demo.origin}/`, { headers: spoofed, redirect: 'manual' });
  t.equal(stranger.status, 401);
  t.notMatch(await stranger.text(), 'Hello');

  const { context, page } = await visit({ extraHTTPHeaders: spoofed });
  await become(page, 'Alice Archer');
  await page.waitForURL(`${demo.origin}/`);
  const told = await page.locator('body').innerText();
  t.match(told, 'Hello, Alice Archer');
  t.notMatch(told, 'root');
  t.notMatch(told, /cookie\tsallyport/i);
  await context.close();
});

for (const colorScheme of ['light', 'dark'] as const) {
  t.test(`the demo's pages are accessible in ${colorScheme} colours, on a phone too`, async (t) => {
    const { context, page } = await visit({ colorScheme, viewport: { width: 360, height: 740 } });
    const examine = async (what: string): Promise<void> => {
      const found = await page.evaluate(`${axe.source}; axe.run().then(({ violations }) => violations)`);
      t.same(found, [], what);
      const overflow = await page.evaluate('document.documentElement.scrollWidth - innerWidth');
      t.equal(overflow, 0, `${what} needs no sideways scrolling`);
    };
    await examine('the chooser');
    await become(page, 'Alice Archer');
    await page.waitForURL(`${demo.origin}/`);
    await examine('the forge');
    await page.getByRole('link', { name: 'Sign out' }).click();
    await page.getByRole('button', { name: /sign out/i }).click();
    await page.getByRole('button', { name: 'Yes, sign out' }).waitFor();
    await examine('the sign-out');
    await context.close();
  });
}

t.test('the log stays silent when nothing is wrong', (t) => {
  t.equal(logged, '');
  t.end();
});
