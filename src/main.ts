#!/usr/bin/env node
import process from 'node:process';
import type { Writable } from 'node:stream';
import { dispatch, exitDone, exitWanting } from './commands/index.ts';

/*
 * Nobody may read our output any more (`sallyport check | head`, a log collector that died). Without a listener the
 * EPIPE would be thrown in the middle of whatever runs: a proxy must not fall because its log reader did.
 */
const output = { lost: false };
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') output.lost = true;
  });
}

const status = await dispatch(process.argv.slice(2), {
  stdout: process.stdout,
  stderr: process.stderr,
  env: process.env,
});
await Promise.all([flush(process.stdout), flush(process.stderr)]);
// A command that returned is finished: a socket that is still kept alive must not hold the process.
process.exit(status === exitDone && output.lost ? exitWanting : status);

function flush(stream: Writable): Promise<void> {
  return new Promise((resolve) => stream.write('', () => resolve()));
}
