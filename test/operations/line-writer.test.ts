import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { openLineWriter } from '../../src/operations/line-writer.ts';

const directory = mkdtempSync(join(tmpdir(), 'sallyport-lines-'));
t.teardown(() => rmSync(directory, { recursive: true }));

t.test('lines arrive whole and in order, however many there are', async (t) => {
  const file = join(directory, 'many');
  const writer = openLineWriter({ file }, { maxBacklog: 50_000_000 });
  const lines = Array.from({ length: 20_000 }, (_, i) => `${i} ${'ü'.repeat(i % 50)}\n`);
  for (const line of lines) writer.write(line);
  await writer.close();
  t.equal(readFileSync(file, 'utf8'), lines.join(''));
});

t.test('a process about to end writes what is queued', async (t) => {
  const file = join(directory, 'sync');
  const writer = openLineWriter({ file }, { delayMs: 60_000 });
  writer.write('last words\n');
  t.equal(readFileSync(file, 'utf8'), '');
  writer.flushSync();
  t.equal(readFileSync(file, 'utf8'), 'last words\n');
  await writer.close();
  let lost = 0;
  writer.write('too late\n', () => (lost += 1));
  t.equal(lost, 1);
});

t.test('what a killed process left unfinished swallows no line of the next', async (t) => {
  for (const [left, found] of [
    ['{"whole":1}\n{"tor', '{"whole":1}\n{"tor\n{"next":1}\n'],
    ['{"whole":1}\n', '{"whole":1}\n{"next":1}\n'],
    ['', '{"next":1}\n'],
  ] as const) {
    const file = join(directory, `left-${left.length}`);
    writeFileSync(file, left);
    const writer = openLineWriter({ file });
    writer.write('{"next":1}\n');
    await writer.close();
    t.equal(readFileSync(file, 'utf8'), found);
  }
});

t.test('standard output that is a pipe gets every line before the process ends by itself', async (t) => {
  const program = `import { openLineWriter } from './src/operations/line-writer.ts';
    const writer = openLineWriter({ fd: 1 });
    for (let i = 0; i < 3000; i += 1) writer.write(i + '\\n');`;
  const out = execFileSync(process.execPath, ['--import=tsx', '--input-type=module', '-e', program], {
    encoding: 'utf8',
  });
  t.equal(out, Array.from({ length: 3000 }, (_, i) => `${i}\n`).join(''));
});
