import t from 'tap';
import { openHouse, prefix } from './house.ts';
import { launchChromium } from '../support/chromium.ts';

const house = await openHouse({
  sources: {
    staff: { display_name: 'Staff', email_domains: ['example.com'] },
    partners: { display_name: 'Partners' },
  },
});
const browser = await launchChromium();
t.teardown(async () => {
  await browser.close();
  await house.close();
});

async function openPage(javaScriptEnabled: boolean) {
  const context = await browser.newContext({ javaScriptEnabled });
  const page = await context.newPage();
  const blocked: string[] = [];
  page.on('console', (message) => {
    if (message.text().includes('Content Security Policy')) blocked.push(message.text());
  });
  return { context, page, blocked };
}

for (const javaScript of [true, false]) {
  t.test(
    `in a real browser, ${javaScript ? 'with' : 'without'} JavaScript: by email to the forge, and out again`,
    async (t) => {
      const { context, page, blocked } = await openPage(javaScript);
      await page.goto(`${house.origin}/org/repo`);
      t.match(page.url(), `${prefix}/signin?return_to=`);
      await page.getByLabel('Or enter your work email address').fill('alice@example.com');
      await page.getByRole('button', { name: 'Continue' }).click();
      await page.waitForURL(`${house.origin}/org/repo`);
      t.match(await page.content(), 'the forge: /org/repo');

      await page.goto(`${house.origin}${prefix}/signout`);
      await page.getByRole('button', { name: 'Sign out' }).click();
      await page.waitForURL(`${house.op.issuer}/session/end**`);
      t.same(blocked, [], 'form-action let the redirect to the IdP through');
      t.same(
        (await context.cookies(house.origin)).filter(({ name }) => name.startsWith('sallyport')),
        [],
      );
      await page.getByRole('button', { name: 'Sign out' }).click();
      await page.waitForURL(`${house.origin}${prefix}/signed-out**`);
      await page.getByRole('link', { name: 'Sign in again' }).click();
      await page.getByRole('link', { name: 'Partners' }).click();
      await page.waitForURL(`${house.origin}/`);
      await context.close();
    },
  );
}

t.test(
  'without MFA the page explains, and trying again after setting it up leads to where it was going',
  async (t) => {
    const { context, page } = await openPage(true);
    const login = house.op.nextLogin;
    house.op.nextLogin = { ...login, amr: ['pwd'] };
    await page.goto(`${house.origin}${prefix}/signin?source=staff&return_to=/org/repo`);
    t.equal(await page.getByRole('heading', { level: 1 }).textContent(), 'MFA was not asserted');
    t.notOk(await page.getByText('amr_not_mfa').isVisible(), 'folded');
    await page.getByText('Details for support').click();
    t.ok(await page.getByText('amr_not_mfa').isVisible());
    house.op.nextLogin = login;
    await page.getByRole('link', { name: 'Try again' }).click();
    await page.waitForURL(`${house.origin}/org/repo`);
    t.match(house.op.requests.filter(({ endpoint }) => endpoint === 'authorization').at(-1)?.params, {
      prompt: 'login',
      max_age: '0',
    });
    await context.close();
  },
);
