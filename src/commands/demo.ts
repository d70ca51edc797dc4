import { parseArgs } from 'node:util';
import { createAuditPrinter } from '../demo/audit-lines.ts';
import { type Demo, startDemo } from '../demo/demo.ts';
import { findFreePort } from '../demo/loopback-server.ts';
import type { Command, CommandIo } from './command.ts';

const defaultPort = 4180;

/** `sallyport demo`: a demo identity provider, a demo forge, and Sallyport between them, on loopback, until Ctrl-C. */
export const demoCommand: Command = {
  name: 'demo',
  summary: 'try it: a demo identity provider and a demo forge, on this machine only',
  usage: `Usage: sallyport demo [--port PORT]

Starts, on loopback and with nothing else installed, a demo identity provider with users who have and who lack a second
factor, a demo forge, and Sallyport between them, with a configuration of its own and sessions in memory. Prints the
address to open; audit records appear in the terminal. Ctrl-C ends it.

  --port PORT   the port to listen on (default: ${defaultPort}, or another one when that is taken); 0 takes any
  --help        this text
`,
  async run(args, io) {
    const { values } = parseArgs({ args: [...args], options: { port: { type: 'string' } }, strict: true });
    const wanted = values.port === undefined ? undefined : parsePort(values.port);
    if (Number.isNaN(wanted)) {
      io.stderr.write('sallyport demo: --port takes a number from 0 to 65535\n');
      return 2;
    }
    const port = await findFreePort(wanted ?? defaultPort, wanted !== undefined);
    if (port === undefined) {
      io.stderr.write(`sallyport demo: port ${wanted ?? defaultPort} is taken\n`);
      return 1;
    }
    // Before anything starts: whoever presses Ctrl-C early must be heard too.
    const stop = nextStopSignal();
    try {
      const demo = await startDemo({ port, log: io.stderr, audit: createAuditPrinter(io.stdout) });
      greet(demo, io);
      await stop.signalled;
      io.stdout.write('\nThe demo is over; nothing is left of it.\n');
      await demo.close();
      return 0;
    } catch (error) {
      if (!lacksProvider(error)) throw error;
      io.stderr.write(
        'sallyport demo: the demo identity provider needs the optional package oidc-provider, which is not installed.\n' +
          'Install it with: npm install --include=optional (or: npm install oidc-provider)\n',
      );
      return 1;
    } finally {
      stop.forget();
    }
  },
};

function greet(demo: Demo, io: CommandIo): void {
  io.stdout.write(`
Sallyport demo

  Open  ${demo.origin}

  1. Be Alice (password and one-time code): you reach the demo forge under your own name, and
     ${demo.origin}/_sallyport/whoami shows aal2 with the evidence.
  2. Sign out, and be Bob (password only): "MFA was not asserted", no session, and a record of it here.
  3. Dana and Erin show what else is no second factor; Carol uses a passkey.
  4. Alice again, who is an operator: ${demo.origin}/_sallyport/status shows whom Sallyport let in
     and whom not, and why; ${demo.origin}/_sallyport/canary/demo tries a sign-in
     (be Bob there) without starting a session.
  5. Claim to be somebody: curl -i -H 'X-WEBAUTH-USER: root' ${demo.origin}/

  Behind it, on this machine only: identity provider ${demo.issuer}, forge ${demo.upstream}.
  Nothing is kept. Ctrl-C ends it.

`);
}

/** Resolves at SIGINT or SIGTERM; a second signal ends the process at once, as without us. */
function nextStopSignal(): { readonly signalled: Promise<void>; forget(): void } {
  const signals = ['SIGINT', 'SIGTERM'] as const;
  let listener = (): void => undefined;
  const signalled = new Promise<void>((resolve) => {
    listener = () => resolve();
    for (const signal of signals) process.once(signal, listener);
  });
  return {
    signalled,
    forget: () => {
      for (const signal of signals) process.removeListener(signal, listener);
    },
  };
}

function parsePort(text: string): number {
  return /^\d{1,5}$/.test(text) && Number(text) <= 65_535 ? Number(text) : Number.NaN;
}

/** Whether `error` says that the optional dependency `oidc-provider` could not be found. */
function lacksProvider(error: unknown): boolean {
  return (
    error instanceof Error &&
    'code' in error &&
    error.code === 'ERR_MODULE_NOT_FOUND' &&
    error.message.includes("'oidc-provider'")
  );
}
