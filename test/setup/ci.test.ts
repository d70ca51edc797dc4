import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';

interface Run {
  readonly title: string;
  /** What `npm test` prints last, and its exit status. */
  readonly report: string;
  readonly testStatus: number;
  readonly installStatus?: number;
  readonly closing: string;
  readonly succeeds: boolean;
}

const runs: readonly Run[] = [
  {
    title: 'a run in which all pass',
    report: '# { total: 12, pass: 12 }',
    testStatus: 0,
    closing: '12 passed, 0 failed',
    succeeds: true,
  },
  {
    title: 'a coloured summary',
    report: '\\033[2m# { total: 3, pass: 3 }\\033[0m',
    testStatus: 0,
    closing: '3 passed, 0 failed',
    succeeds: true,
  },
  {
    title: 'a report with bytes that are no text',
    report: 'ok 1 - a path with \\000 in it\\n# { total: 3, pass: 3 }',
    testStatus: 0,
    closing: '3 passed, 0 failed',
    succeeds: true,
  },
  {
    title: 'a failed assertion',
    report: '# { total: 3, pass: 2, fail: 1 }',
    testStatus: 1,
    closing: '2 passed, 1 failed',
    succeeds: false,
  },
  {
    title: 'a failure that the runner forgot to report by its status',
    report: '# { total: 3, pass: 2, fail: 1 }',
    testStatus: 0,
    closing: '2 passed, 1 failed',
    succeeds: false,
  },
  {
    title: 'a skipped test',
    report: '# { total: 3, pass: 2, skip: 1 }',
    testStatus: 0,
    closing: '2 passed, 0 failed, 1 skipped',
    succeeds: false,
  },
  {
    title: 'a test left to do',
    report: '# { total: 3, pass: 1, todo: 1, skip: 1 }',
    testStatus: 0,
    closing: '1 passed, 0 failed, 2 skipped',
    succeeds: false,
  },
  {
    title: 'no test at all',
    report: '# { total: 0 }',
    testStatus: 0,
    closing: '0 passed, 0 failed',
    succeeds: false,
  },
  {
    title: 'a runner that says nothing',
    report: '',
    testStatus: 0,
    closing: '0 passed, 0 failed',
    succeeds: false,
  },
  {
    title: 'a runner that fails for a reason of its own',
    report: '# { total: 3, pass: 3 }',
    testStatus: 7,
    closing: '3 passed, 0 failed',
    succeeds: false,
  },
  {
    title: "a summary inside a test's own output",
    report: '    # { total: 99, pass: 99 }',
    testStatus: 0,
    closing: '0 passed, 0 failed',
    succeeds: false,
  },
  {
    title: 'an install that fails',
    report: '# { total: 3, pass: 3 }',
    testStatus: 0,
    installStatus: 1,
    closing: '0 passed, 0 failed',
    succeeds: false,
  },
];

for (const run of runs) {
  t.test(`the closing line of CI is true for ${run.title}`, (t) => {
    const root = t.testdir({ '.ci': {}, bin: {} });
    mkdirSync(join(root, '.ci'), { recursive: true });
    copyFileSync('.ci/run', join(root, '.ci/run'));
    const npm = `#!/bin/sh
if [ "$1" = ci ]; then exit ${run.installStatus ?? 0}; fi
printf '%b\\n' '${run.report}'
exit ${run.testStatus}
`;
    writeFileSync(join(root, 'bin/npm'), npm, { mode: 0o755 });
    const { status, stdout } = spawnSync('bash', [join(root, '.ci/run')], {
      encoding: 'utf8',
      env: { PATH: `${join(root, 'bin')}:${process.env['PATH'] ?? ''}`, CI: 'true' },
    });
    t.equal(stdout.trimEnd().split('\n').at(-1), run.closing);
    t.equal(status === 0, run.succeeds);
    t.end();
  });
}
