import { parseArgs } from 'node:util';
import { productVersion } from '../operations/version.ts';
import type { Command } from './command.ts';

/** `sallyport version`: the product's and the runtime's version, for a bug report. */
export const versionCommand: Command = {
  name: 'version',
  summary: 'print the version of Sallyport and of Node.js',
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
