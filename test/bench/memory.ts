import { measureMemory } from './memory-run.ts';

/*
 * npm run bench:memory: what 100,000 opened sessions cost a replica. BENCH_SESSIONS (100000): how many.
 */

const sessions = Number(process.env['BENCH_SESSIONS'] ?? 100_000);
const mebibytes = (bytes: number): string => `${(bytes / 1024 / 1024).toFixed(0)} MiB`;
const { heap, rss, served } = await measureMemory(sessions, 20_000);
console.log(
  `Node ${process.version}; ${sessions} sessions of Entra ID, each let in once and given its identity headers; ${served} served from memory\n`,
);
console.log(`live heap  ${mebibytes(heap)}  (${Math.round(heap / sessions)} bytes a session)`);
console.log(`resident   ${mebibytes(rss)}  (${Math.round(rss / sessions)} bytes a session)`);
console.log(`\ngoal: 100,000 sessions under 200 MiB`);
