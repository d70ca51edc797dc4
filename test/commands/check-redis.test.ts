import t from 'tap';
import { judgeVersion } from '../../src/commands/check/redis.ts';

t.test(
  'a server that lacks the commands is named with its version and the cure; others are not',
  async (t) => {
    const rows: [string | undefined, string | undefined, boolean][] = [
      ['Redis 6.2.14', '6.2.14', false],
      ['Redis 5.0.3', '5.0.3', false],
      ['Redis 7.0.0', '7.0.0', true],
      ['Redis 8.2.1', '8.2.1', true],
      ['Redis 10.0.0', '10.0.0', true],
      // Valkey says which Redis it follows.
      ['Valkey 7.2.5', '7.2.4', true],
      ['Valkey 8.1.0', '7.2.4', true],
      [undefined, undefined, true],
      ['Redis unstable', 'unstable', true],
    ];
    for (const [version, redisVersion, good] of rows) {
      const findings = judgeVersion({
        where: '10.0.0.1:6379',
        version,
        redisVersion,
        evictionPolicy: 'noeviction',
        maxMemoryBytes: 0,
        role: 'master',
      });
      t.equal(findings.length, good ? 0 : 1, version ?? 'untold');
      if (good) continue;
      t.match(findings[0], { status: 'fail', hint: /Redis 7\.0 or later, or Valkey 7\.2 or later/ });
      t.match(findings[0]?.message, `10.0.0.1:6379 is ${version}`);
    }
  },
);
