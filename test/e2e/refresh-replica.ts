/*
 * A replica in a process of its own, that a test may kill: `refresh-replica.ts CONFIG OFFSET_MS`. Its clock is the machine's, moved by so
 * much. Says on standard output where it listens.
 */
import { Writable } from 'node:stream';
import { startApp } from '../../src/app.ts';
import { loadConfig } from '../../src/config/load.ts';

const [file = '', offsetMs = '0'] = process.argv.slice(2);
const loaded = await loadConfig(file, {});
if (!loaded.ok) throw new Error(loaded.report);
const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
const app = await startApp(loaded.config, {
  clock: { nowMs: () => Date.now() + Number(offsetMs) },
  log: nowhere,
  audit: nowhere,
});
process.stdout.write(`${app.listen}\n`);
