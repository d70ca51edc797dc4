import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { AxeResults } from 'axe-core';
import t from 'tap';
import { pageHeaders } from '../../src/endpoints/security-headers.ts';
import { mark } from '../../src/pages/mark.ts';
import { stylesheet } from '../../src/pages/stylesheet.ts';
import { gallery } from './gallery.ts';
import { launchChromium } from '../support/chromium.ts';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const browser = await launchChromium();
t.teardown(() => browser.close());

const site = 'http://localhost';

/** A browser that is served the gallery, under the very headers that pages have. */
async function openBrowser(options: { dark: boolean; width: number }) {
  const context = await browser.newContext({
    viewport: { width: options.width, height: 740 },
    colorScheme: options.dark ? 'dark' : 'light',
    reducedMotion: 'reduce',
  });
  const asked: string[] = [];
  const complaints: string[] = [];
  await context.route('**/*', async (route) => {
    const { pathname } = new URL(route.request().url());
    const body = gallery[decodeURIComponent(pathname.slice(1))];
    if (body !== undefined) return route.fulfill({ body, headers: { ...pageHeaders() } });
    asked.push(route.request().url());
    if (pathname.endsWith('.css')) return route.fulfill({ body: stylesheet, contentType: 'text/css' });
    return route.fulfill({ body: mark, contentType: 'image/svg+xml' });
  });
  const page = await context.newPage();
  page.on('console', (message) => complaints.push(message.text()));
  return { page, asked, complaints };
}

const light = await openBrowser({ dark: false, width: 360 });
const dark = await openBrowser({ dark: true, width: 360 });
const wide = await openBrowser({ dark: false, width: 1280 });

for (const name of Object.keys(gallery)) {
  t.test(
    `${name}: accessible, light and dark, on a phone and wide, and nothing from elsewhere`,
    async (t) => {
      for (const { page, asked, complaints } of [light, dark, wide]) {
        await page.goto(`${site}/${encodeURIComponent(name)}`);
        const folded = page.locator('details');
        for (const details of await folded.all()) {
          t.equal(await details.getAttribute('open'), null, 'the details are folded');
          await details.locator('summary').click();
        }
        const sideways = await page.evaluate(
          'document.documentElement.scrollWidth - document.documentElement.clientWidth',
        );
        t.equal(sideways, 0, 'nothing to scroll sideways');
        await page.evaluate(axe);
        const results = await page.evaluate<AxeResults>(
          `axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] })`,
        );
        t.same(
          results.violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`),
          [],
        );
        t.ok(results.passes.length > 10, 'axe did look');
        t.same(complaints.splice(0), [], 'the content security policy has nothing to block');
        t.ok(
          asked.length > 0 && asked.every((url) => url.startsWith(`${site}/_sallyport/assets/`)),
          'only our own files',
        );
      }
    },
  );
}

/** Runs in the page: what the keyboard must reach, in the order in which it stands there. */
const reachable = `[...document.querySelectorAll('a[href], button, input:not([type=hidden]), summary, [tabindex="0"]')]
  .filter((element) => element.checkVisibility())`;

t.test(
  'every link, field and fold is reached by the keyboard, in the order of the page, and shows it',
  async (t) => {
    const { page } = await openBrowser({ dark: false, width: 900 });
    for (const name of Object.keys(gallery)) {
      await page.goto(`${site}/${encodeURIComponent(name)}`);
      const count = await page.evaluate<number>(`${reachable}.length`);
      t.ok(count > 0, name);
      for (let step = 0; step < count; step += 1) {
        await page.keyboard.press('Tab');
        t.same(
          await page.evaluate(
            `[${reachable}.indexOf(document.activeElement), getComputedStyle(document.activeElement).outlineStyle]`,
          ),
          [step, 'solid'],
          name,
        );
      }
    }
  },
);

t.test('the MFA page offers first what helps: a second factor, again, another account', async (t) => {
  const { page } = await openBrowser({ dark: false, width: 900 });
  await page.goto(`${site}/mfa`);
  const reached: string[] = [];
  for (let step = 0; step < 5; step += 1) {
    await page.keyboard.press('Tab');
    reached.push(String(await page.evaluate('document.activeElement.textContent.trim()')));
  }
  t.same(reached, [
    'Set up a second factor',
    'Try again',
    'Sign in with another account',
    'Details for support',
    'Get help',
  ]);
});
