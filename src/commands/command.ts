import type { Writable } from 'node:stream';

/** What a command may touch of the process. */
export interface CommandIo {
  readonly stdout: Writable;
  readonly stderr: Writable;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** A subcommand of `sallyport`. Exit status: 0 done, 1 found wanting, 2 usage or configuration. */
export interface Command {
  readonly name: string;
  /** One line for `sallyport --help`. */
  readonly summary: string;
  /** The whole text of `sallyport <name> --help`. */
  readonly usage: string;
  run(args: readonly string[], io: CommandIo): Promise<number>;
}
