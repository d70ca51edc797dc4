import { execFileSync, fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bodyMarker } from './marker.ts';
import type { LoadOrder, LoadResult } from './load.ts';

/*
 * npm run bench: what a signed-in request costs, in CPU time of the process that serves it, against a minimal Node proxy in
 * the same run. Rounds alternate, so that a noisy neighbour hits everyone; the least disturbed rounds are compared.
 * Each contestant runs in several processes: V8 compiles the same code to a faster or slower shape (process.nextTick above all), by what
 * it happened to see while a process started, and keeps to it; one process each would compare two throws of dice.
 *
 * What is measured is compiled as `npm run build` does it: tsx would have every closure name itself at run time.
 *
 * BENCH_SECONDS (2): length of a round. BENCH_ROUNDS (3). BENCH_STARTS (3): processes of each. BENCH_CONNECTIONS (32). BENCH_ROLES: a comma list, to leave some out.
 */

const seconds = Number(process.env['BENCH_SECONDS'] ?? 2);
const rounds = Number(process.env['BENCH_ROUNDS'] ?? 3);
const starts = Number(process.env['BENCH_STARTS'] ?? 3);
const connections = Number(process.env['BENCH_CONNECTIONS'] ?? 32);

/** One process of a contestant's. */
interface Run {
  readonly child: ChildProcess;
  readonly port: number;
  readonly request: string;
}

interface Contestant {
  readonly role: string;
  readonly title: string;
  readonly runs: readonly Run[];
  readonly samples: {
    readonly cpu: number;
    readonly rate: number;
    readonly p50: number;
    readonly p99: number;
  }[];
}

const allRoles: readonly (readonly [string, string])[] = [
  ['upstream', 'the bare upstream'],
  ['bare', 'minimal Node http + undici proxy'],
  ['bare-dispatch', 'the same, on raw undici handlers'],
  ['sallyport', 'Sallyport, signed in'],
  ['sallyport-quiet', 'Sallyport, signed in, no access log'],
];

const root = fileURLToPath(new URL('../..', import.meta.url));
const compiled = join(root, 'node_modules/.cache/sallyport-bench');

function compile(): void {
  mkdirSync(compiled, { recursive: true });
  writeFileSync(join(compiled, 'package.json'), '{"type":"module"}');
  const tsc = join(root, 'node_modules/typescript/bin/tsc');
  const options = ['--noEmit', 'false', '--noCheck', '--outDir', compiled, '--rootDir', root];
  execFileSync(process.execPath, [tsc, '-p', join(root, 'tsconfig.json'), ...options], { stdio: 'inherit' });
}

const chosen = process.env['BENCH_ROLES']?.split(',');
/** The first two are always there: what answers, and what is compared with. */
const roles = allRoles.filter(([role], i) => i < 2 || chosen === undefined || chosen.includes(role));

function start(file: string, args: readonly string[] = []): ChildProcess {
  return fork(join(compiled, 'test/bench', file), [...args], { execArgv: [] });
}

async function ask<T>(child: ChildProcess, message: object): Promise<T> {
  child.send(message);
  const [answer] = (await once(child, 'message')) as [T & { error?: string }];
  if (answer.error !== undefined) throw new Error(answer.error);
  return answer;
}

/** A request as a browser sends it. */
function requestOf(cookie: string): string {
  return [
    'GET /team/project/issues?state=open HTTP/1.1',
    'Host: forge.example.com',
    'User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0',
    'Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8',
    'Accept-Language: en-GB,en;q=0.5',
    'Accept-Encoding: gzip, deflate, br',
    `Cookie: ${cookie}; lang=en-GB; i_like_gitea=0123456789abcdef; _csrf=dG9rZW4tdG9rZW4tdG9rZW4`,
    'Upgrade-Insecure-Requests: 1',
    'Sec-Fetch-Dest: document',
    'Sec-Fetch-Mode: navigate',
    'Sec-Fetch-Site: same-origin',
    'Sec-Fetch-User: ?1',
    'Connection: keep-alive',
    '',
    '',
  ].join('\r\n');
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}

if (process.env['BENCH_COMPILED'] === undefined) compile();
const children: ChildProcess[] = [];
try {
  const generator = start('load.js');
  children.push(generator);
  await once(generator, 'message');
  const contestants: Contestant[] = [];
  for (const [role, title] of roles) {
    const runs: Run[] = [];
    for (let count = 0; count < (role === 'upstream' ? 1 : starts); count += 1) {
      const child = start('servers.js', [role, String(contestants[0]?.runs[0]?.port ?? 0)]);
      children.push(child);
      const [ready] = (await once(child, 'message')) as [{ port: number; cookie?: string }];
      runs.push({ child, port: ready.port, request: requestOf(ready.cookie ?? 'a=b') });
    }
    contestants.push({ role, title, runs, samples: [] });
  }
  const everyRun = contestants.flatMap(({ runs, samples }) => runs.map((run) => ({ ...run, samples })));
  for (let round = 0; round <= rounds; round += 1) {
    for (const { child, port, request, samples } of everyRun) {
      const before = await ask<{ cpuMicroseconds: number }>(child, {});
      const order: LoadOrder = {
        port,
        connections,
        // The first round warms up; its numbers are dropped.
        durationMs: seconds * 1000,
        request,
        marker: bodyMarker,
      };
      const result = await ask<LoadResult>(generator, order);
      const after = await ask<{ cpuMicroseconds: number }>(child, {});
      if (round === 0) continue;
      samples.push({
        cpu: (after.cpuMicroseconds - before.cpuMicroseconds) / result.requests,
        rate: result.requests / result.seconds,
        p50: result.p50,
        p99: result.p99,
      });
    }
  }
  const cpuOf = (contestant: Contestant): number => median(contestant.samples.map(({ cpu }) => cpu));
  /** The least disturbed round: neighbours on the machine only ever add to CPU time (caches, clock, hyper-threads). */
  const leastOf = ({ samples }: Contestant): number => Math.min(...samples.map(({ cpu }) => cpu));
  const ratio = (contestant: Contestant, role: string): number =>
    leastOf(contestant) / leastOf(contestants.find((other) => other.role === role) ?? contestant);
  const row = (...cells: readonly string[]): string =>
    cells.map((cell, i) => (i === 0 ? cell.padEnd(38) : cell.padStart(11))).join('');
  console.log(
    `Node ${process.version}; ${rounds} rounds of ${seconds} s in ${starts} processes each, ${connections} connections, 2 KiB answers; medians, ratios of the least\n`,
  );
  console.log(row('', 'CPU µs/req', 'least', '× bare', '× raw', 'requests/s', 'p50 ms', 'p99 ms'));
  for (const contestant of contestants) {
    const { samples, title, role } = contestant;
    console.log(
      row(
        title,
        cpuOf(contestant).toFixed(1),
        leastOf(contestant).toFixed(1),
        role === 'upstream' ? '' : ratio(contestant, 'bare').toFixed(2),
        role === 'upstream' || !roles.some(([known]) => known === 'bare-dispatch')
          ? ''
          : ratio(contestant, 'bare-dispatch').toFixed(2),
        median(samples.map(({ rate }) => rate)).toFixed(0),
        median(samples.map(({ p50 }) => p50)).toFixed(1),
        median(samples.map(({ p99 }) => p99)).toFixed(1),
      ),
    );
  }
  const reached = ratio(
    contestants.find(({ role }) => role === 'sallyport')!,
    'bare',
  );
  console.log(`\ngoal: at most 1.20 × the minimal Node proxy; reached: ${reached.toFixed(2)}`);
} finally {
  for (const child of children) child.kill();
}
