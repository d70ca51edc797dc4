/** One thing that was tried, and how it went. */
export interface Finding {
  readonly status: 'ok' | 'warn' | 'fail';
  readonly message: string;
  /** What to do about it; only with `warn` and `fail`. */
  readonly hint?: string;
}

/** What was found out about one part of the whole. */
export interface Area {
  readonly name: string;
  readonly findings: readonly Finding[];
}

/** It is as it should be. */
export const ok = (message: string): Finding => ({ status: 'ok', message });
/** It works, and may not be what is meant. */
export const warn = (message: string, hint: string): Finding => ({ status: 'warn', message, hint });
/** `serve` would not start, or would refuse everybody. */
export const fail = (message: string, hint: string): Finding => ({ status: 'fail', message, hint });
