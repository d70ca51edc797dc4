import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import t from 'tap';
import type { Clock } from '../../src/kernel/clock.ts';
import { launchChromium } from '../support/chromium.ts';
import { startOp } from '../support/op.ts';
import { clientOf, loopbackOrigin, startSallyport } from '../support/sallyport.ts';

class MovableClock implements Clock {
  offsetMs = 0;
  nowMs(): number {
    return Date.now() + this.offsetMs;
  }
}

for (const javaScriptEnabled of [true, false]) {
  const title = javaScriptEnabled ? 'with' : 'without';
  t.test(
    `in a real browser, ${title} JavaScript: what was typed survives a step-up, and goes out once`,
    async (t) => {
      const posted: string[] = [];
      const app = createServer((request, response) => {
        let body = '';
        request.on('data', (chunk: Buffer) => (body += chunk.toString()));
        request.on('end', () => {
          if (request.method === 'POST') posted.push(body);
          response.setHeader('content-type', 'text/html');
          response.end(
            request.method === 'POST'
              ? '<p>saved</p>'
              : '<form method="post"><label>Text <textarea name="text"></textarea></label><button>Save</button></form>',
          );
        });
      });
      await once(app.listen(0, '127.0.0.1'), 'listening');
      const origin = await loopbackOrigin();
      const clock = new MovableClock();
      const op = await startOp({ clients: [clientOf(origin, 'idp')] });
      op.tamperIdToken = ({ claims }) => {
        const offset = Math.round(clock.offsetMs / 1000);
        const now = Math.floor(clock.nowMs() / 1000);
        return {
          claims: {
            ...claims,
            iat: Number(claims['iat']) + offset,
            exp: Number(claims['exp']) + offset,
            auth_time: now,
          },
        };
      };
      const sallyport = await startSallyport({
        origin,
        upstream: `http://127.0.0.1:${(app.address() as AddressInfo).port}`,
        sources: [{ id: 'idp', issuer: op.issuer }],
        config: { routes: [{ name: 'admin', path: '/admin/**', max_auth_age: '15m' }] },
        app: { clock },
      });
      const browser = await launchChromium();
      t.teardown(async () => {
        await browser.close();
        await sallyport.close();
        await op.stop();
        app.closeAllConnections();
        app.close();
      });
      const context = await browser.newContext({ javaScriptEnabled });
      const page = await context.newPage();
      await page.goto(`${origin}/admin/form`);
      await page.getByLabel('Text').fill('a long text, typed by hand');
      clock.offsetMs += 1_000_000;
      await page.getByRole('button', { name: 'Save' }).click();
      const link = page.getByRole('link', { name: 'Sign in' });
      await link.waitFor();
      t.same(posted, [], 'not passed on');
      t.notMatch(await page.content(), 'typed by hand', 'and not echoed');
      const [tab] = await Promise.all([context.waitForEvent('page'), link.click()]);
      await tab.waitForURL(`${origin}/`);
      t.same(posted, [], 'nor sent by itself');
      await tab.close();
      await page.goBack();
      t.equal(await page.getByLabel('Text').inputValue(), 'a long text, typed by hand');
      await page.getByRole('button', { name: 'Save' }).click();
      await page.getByText('saved').waitFor();
      t.same(posted, ['text=a+long+text%2C+typed+by+hand'], 'once, by the person');
    },
  );
}
