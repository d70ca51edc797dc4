import { sep } from 'node:path';

/** A key's way through the file: names and list indices. */
export type KeyPath = readonly (string | number)[];

/** What kind of mistake it is. Branch on these, never on message text. */
export type ConfigFaultCode =
  | 'unreadable'
  | 'syntax'
  | 'duplicate_key'
  | 'variable'
  | 'unknown_key'
  | 'missing'
  | 'wrong_type'
  | 'bad_value'
  | 'impossible'
  | 'unreadable_file';

/** A mistake in the configuration, without its place. Never holds a secret. */
export interface Finding {
  readonly code: ConfigFaultCode;
  readonly path: KeyPath;
  /** What is wrong or was expected: one sentence, no final stop. */
  readonly message: string;
  /** What to write instead, where that is more than the message says. */
  readonly cure?: string | undefined;
}

/** A mistake in the configuration, with its place. Never holds a secret. */
export interface Fault {
  readonly code: ConfigFaultCode;
  readonly file: string;
  /** One-based. 0: the file as a whole. */
  readonly line: number;
  /** One-based, in UTF-16 units. 0: the file as a whole. */
  readonly column: number;
  /** The key's path, e.g. `sources[0].mfa.acr_values`; empty for the file as a whole. */
  readonly path: string;
  readonly message: string;
  readonly cure: string | undefined;
}

/** `sources[0].mfa.acr_values`; keys that are no plain names stand in quotes. */
export function formatPath(path: KeyPath): string {
  return path.reduce<string>((written, step) => {
    if (typeof step === 'number') return `${written}[${step}]`;
    if (!/^[\w-]+$/.test(step)) return `${written}[${quote(step)}]`;
    return written === '' ? step : `${written}.${step}`;
  }, '');
}

/** Text from the file as it may stand in a report: bounded, and without anything that could steer a terminal. */
export function quote(text: string): string {
  const shown = text.length > 60 ? `${text.slice(0, 60)}…` : text;
  return JSON.stringify(shown).replace(
    /[\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g,
    (character) => {
      return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
    },
  );
}

/** Whether `path` is `above` or lies below it. */
export function liesWithin(path: KeyPath, above: KeyPath): boolean {
  return above.length <= path.length && above.every((step, index) => step === path[index]);
}

/** By place in the file; exact repetitions are dropped. */
export function orderFaults(faults: readonly Fault[]): readonly Fault[] {
  const seen = new Set<string>();
  return faults
    .toSorted(
      (a, b) => a.line - b.line || a.column - b.column || (a.path < b.path ? -1 : a.path > b.path ? 1 : 0),
    )
    .filter((fault) => {
      const mark = JSON.stringify([fault.line, fault.column, fault.path, fault.message]);
      return !seen.has(mark) && seen.add(mark);
    });
}

/** The report for the person at the terminal: every fault with place, key path, what was expected and the cure. */
export function formatReport(fileName: string, faults: readonly Fault[]): string {
  const count = faults.length === 1 ? '1 mistake' : `${faults.length} mistakes`;
  const entries = faults.map((fault) => {
    const place = fault.line === 0 ? fault.file : `${fault.file}:${fault.line}:${fault.column}`;
    return [
      `${place}${fault.path === '' ? '' : `  ${fault.path}`}`,
      `    ${fault.message}`,
      ...(fault.cure === undefined ? [] : [`    cure: ${fault.cure}`]),
      '',
    ].join('\n');
  });
  const name = fileName.split(sep).at(-1) ?? fileName;
  return `${name}: ${count}, nothing of it is applied\n\n${entries.join('\n')}`;
}
