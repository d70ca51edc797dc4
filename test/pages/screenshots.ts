import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { pageHeaders } from '../../src/endpoints/security-headers.ts';
import { mark } from '../../src/pages/mark.ts';
import { stylesheet } from '../../src/pages/stylesheet.ts';
import { gallery } from './gallery.ts';
import { launchChromium } from '../support/chromium.ts';

/*
 * Takes a picture of every page of the gallery: light, dark, and on a phone (of mere variants: light alone). `npm run screenshots` writes them to
 * docs/screenshots/; names follow from the pages, so that a change shows as a change.
 */

const directory = new URL('../../docs/screenshots/', import.meta.url);
const shots = [
  { suffix: 'light', width: 1000, colorScheme: 'light' },
  { suffix: 'dark', width: 1000, colorScheme: 'dark' },
  { suffix: 'phone', width: 360, colorScheme: 'light' },
] as const;

/** The same page with other words or less on it: one picture says that. */
const variants: ReadonlySet<string> = new Set([
  'chooserUnknownEmail',
  'mfaWithoutSetup',
  'mfaRefusedByIdp',
  'canaryPassed',
  'canaryRefused',
  'statusStoreDown',
  '400 attempt_expired',
  '400 attempt_cookie_missing',
  '400 target_malformed',
  '403 username_invalid',
  '404 not_found',
  '405 method_not_allowed',
  '421 host_unknown',
  '431 headers_too_large',
  '500 internal',
]);

const fileName = (page: string, suffix: string): string =>
  `${page
    .replace(/([A-Z])/g, '-$1')
    .replace(/[ _]/g, '-')
    .toLowerCase()}-${suffix}.png`;

await mkdir(directory, { recursive: true });
const browser = await launchChromium();
const written = new Set<string>();
try {
  for (const { suffix, width, colorScheme } of shots) {
    const context = await browser.newContext({
      viewport: { width, height: 600 },
      colorScheme,
      reducedMotion: 'reduce',
    });
    await context.route('**/*', (route) => {
      const { pathname } = new URL(route.request().url());
      const body = gallery[decodeURIComponent(pathname.slice(1))];
      if (body !== undefined) return route.fulfill({ body, headers: { ...pageHeaders() } });
      if (pathname.endsWith('.css')) return route.fulfill({ body: stylesheet, contentType: 'text/css' });
      return route.fulfill({ body: mark, contentType: 'image/svg+xml' });
    });
    const page = await context.newPage();
    for (const name of Object.keys(gallery)) {
      if (suffix !== 'light' && variants.has(name)) continue;
      const answer = await page.goto(`http://localhost/${encodeURIComponent(name)}`);
      if (answer?.ok() !== true) throw new Error(`${name}: ${answer?.status() ?? 'no answer'}`);
      // One refusal unfolded shows what stands in each of them.
      const refusal = page.locator('.refusals summary').first();
      if ((await refusal.count()) > 0) await refusal.click();
      const file = fileName(name, suffix);
      await writeFile(new URL(file, directory), await page.screenshot({ fullPage: true }));
      written.add(file);
    }
    await context.close();
  }
} finally {
  await browser.close();
}
for (const file of await readdir(directory)) {
  if (file.endsWith('.png') && !written.has(file)) await rm(new URL(file, directory));
}
process.stdout.write(`${written.size} screenshots in docs/screenshots\n`);
