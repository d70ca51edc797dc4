import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import type { Command } from './command.ts';

/** The product's version, read from the package.json that this file was shipped with (beside `src/` or `dist/`). */
export function productVersion(): string {
  const manifest: unknown = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
  if (
    typeof manifest === 'object' &&
    manifest !== null &&
    'version' in manifest &&
    typeof manifest.version === 'string'
  ) {
    return manifest.version;
  }
  return 'unknown';
}

/** `sallyport version`: the product's and the runtime's version, for a bug report. */
export const versionCommand: Command = {
  name: 'version',
  summary: 'Print the version.',
  usage: `Usage: sallyport version [--json]

Prints the version of Sallyport and of the Node.js that runs it.

  --json   as JSON: {"sallyport": "…", "node": "…"}
  --help   this text
`,
  run(args, io) {
    const { values } = parseArgs({ args: [...args], options: { json: { type: 'boolean' } }, strict: true });
    const versions = { sallyport: productVersion(), node: process.versions.node };
    io.stdout.write(
      values.json === true
        ? `${JSON.stringify(versions)}\n`
        : `sallyport ${versions.sallyport} (node ${versions.node})\n`,
    );
    return Promise.resolve(0);
  },
};
