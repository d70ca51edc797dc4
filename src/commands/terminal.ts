import type { Step } from '../assurance/types.ts';
import { describeResult } from '../assurance/words.ts';

/** A step of the decision, for a terminal. */
export function formatStep(step: Step, index: number): readonly string[] {
  return [
    `${index + 1}. ${step.subject}: ${describeResult(step.result)}. ${printable(step.note)}`,
    `   found ${step.observed === undefined ? 'nothing' : show(step.observed)}, wanted ${show(step.required)}`,
  ];
}

/** A value from outside as JSON: bounded, and with nothing in it that could steer a terminal. */
export function show(value: unknown): string {
  const text = JSON.stringify(value);
  return printable(text.length > 500 ? `${text.slice(0, 500)}…` : text);
}

/** A text with nothing in it that could steer a terminal. */
export function printable(text: string): string {
  return text.replace(
    /[\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
