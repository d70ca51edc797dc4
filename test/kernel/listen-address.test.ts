import t from 'tap';
import { parseListen } from '../../src/kernel/listen-address.ts';

t.test('listen addresses are host:port, [v6]:port or unix:/path, and nothing else', async (t) => {
  t.strictSame(parseListen('0.0.0.0:4180'), { host: '0.0.0.0', port: 4180 });
  t.strictSame(parseListen('[::]:9464'), { host: '::', port: 9464 });
  t.strictSame(parseListen('localhost:0'), { host: 'localhost', port: 0 });
  t.strictSame(parseListen('unix:/run/a.sock'), { path: '/run/a.sock' });
  for (const wrong of [
    '',
    '4180',
    ':4180',
    '::1:4180',
    '127.0.0.1',
    '127.0.0.1:x',
    '1.2.3:80',
    'a:70000',
    '[::]',
    '[x]:80',
    'unix:a.sock',
  ]) {
    t.equal(parseListen(wrong), undefined, wrong);
  }
});
