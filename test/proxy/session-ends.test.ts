import { mock } from 'node:test';
import t from 'tap';
import type { Running } from '../../src/proxy/running.ts';
import { closeWithSessions } from '../../src/proxy/session-ends.ts';
import type { UpgradedSockets } from '../../src/proxy/websocket.ts';
import type { OpenedSession, SessionWatch } from '../../src/session/types.ts';

/* Sessions that expire do so without a word: what runs under them is found by looking, once a minute. */

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

t.test('what runs under a session that has expired unheard is closed within a minute', async (t) => {
  mock.timers.enable({ apis: ['setInterval', 'setTimeout'] });
  t.teardown(() => mock.timers.reset());
  const living = new Set(['session:stays', 'session:expires', 'session:socket']);
  let down = false;
  let asked = 0;
  const watch = {
    onEnded: () => () => undefined,
    onDoubt: () => () => undefined,
    lives(key: string) {
      asked += 1;
      return down ? Promise.reject(new Error('down')) : Promise.resolve(living.has(key));
    },
  } as unknown as SessionWatch;
  const closed: string[] = [];
  const running = ['session:stays', 'session:expires', undefined].map((key) => ({
    session: key === undefined ? undefined : ({ key } as OpenedSession),
    isRunning: true,
    sessionEnded: () => closed.push(key ?? 'none'),
  })) as unknown as Running;
  const sockets = new Set(['session:stays', 'session:socket']);
  const upgraded = {
    sessionKeys: () => [...sockets],
    review(stays: (session: OpenedSession) => boolean) {
      for (const key of [...sockets]) if (!stays({ key } as OpenedSession)) sockets.delete(key);
    },
  } as unknown as UpgradedSockets;
  const stop = closeWithSessions(running, upgraded, watch);

  living.delete('session:expires');
  living.delete('session:socket');
  mock.timers.tick(59_999);
  await settle();
  t.equal(asked, 0);
  down = true;
  mock.timers.tick(1);
  await settle();
  mock.timers.tick(1000);
  t.equal(asked, 3, 'each session once, however much runs under it');
  t.same(
    [closed, [...sockets]],
    [[], ['session:stays', 'session:socket']],
    'a store that is down ends nobody',
  );

  down = false;
  mock.timers.tick(59_000);
  await settle();
  t.same([...sockets], ['session:stays'], 'WebSockets at once');
  t.same(closed, [], 'others may be about to end anyway');
  mock.timers.tick(400);
  t.same(closed, ['session:expires']);

  stop();
  living.clear();
  mock.timers.tick(120_000);
  await settle();
  t.equal(asked, 6, 'not after it has been stopped');
});
