import { formatPath, liesWithin } from './faults.ts';
import type { ConfigFaultCode, Finding, KeyPath } from './faults.ts';

/** Collects what the cross-checks find, and keeps silent about keys whose value is not the operator's. */
export class Judge {
  readonly findings: Finding[] = [];
  readonly warnings: string[] = [];
  readonly #unsound: readonly KeyPath[];

  constructor(unsound: readonly KeyPath[]) {
    this.#unsound = unsound;
  }

  /** Whether nothing at, above or below `path` is a placeholder. */
  isSound(path: KeyPath): boolean {
    return !this.#unsound.some((other) => liesWithin(path, other) || liesWithin(other, path));
  }

  /** A value that its own key does not allow. */
  refuse(path: KeyPath, message: string, cure?: string): void {
    this.#add('bad_value', path, [], message, cure);
  }

  /** Values that do not go together: silent unless `path` and all of `others` are sound. */
  refuseTogether(path: KeyPath, others: readonly KeyPath[], message: string, cure?: string): void {
    this.#add('impossible', path, others, message, cure);
  }

  /** A key that is needed, here, because of others. */
  miss(path: KeyPath, others: readonly KeyPath[], message: string, cure?: string): void {
    this.#add('missing', path, others, message, cure);
  }

  warn(path: KeyPath, message: string): void {
    if (this.isSound(path)) this.warnings.push(`${formatPath(path)}: ${message}`);
  }

  #add(
    code: ConfigFaultCode,
    path: KeyPath,
    others: readonly KeyPath[],
    message: string,
    cure?: string,
  ): void {
    if ([path, ...others].every((each) => this.isSound(each)))
      this.findings.push({ code, path, message, cure });
  }
}
