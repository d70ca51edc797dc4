import { checkEmails } from './email-checks.ts';
import { quote } from './faults.ts';
import type { KeyPath } from './faults.ts';
import type { Judge } from './judge.ts';
import type { Config } from './schema.ts';

/** `operators` and `canary`. An entry that names nobody, or everybody of a source, is a slip with consequences. */
export function checkOperators(judge: Judge, { operators, sources }: Config): void {
  const ids = sources.map(({ id }) => id);
  const idsAreSound = sources.every((_, index) => judge.isSound(['sources', index, 'id']));
  for (const [index, { source, emails, groups }] of operators.entries()) {
    const path: KeyPath = ['operators', index];
    if (emails === undefined && groups === undefined) {
      judge.refuse(path, 'names nobody: expected emails or groups', 'write who they are');
    }
    checkEmails(judge, [...path, 'emails'], emails);
    for (const [key, list] of [
      ['emails', emails],
      ['groups', groups],
    ] as const) {
      if (list?.length === 0) {
        judge.refuse(
          [...path, key],
          'expected at least one entry: an empty list names nobody',
          `remove ${key}, or fill it`,
        );
      }
    }
    if (source === undefined) {
      if (sources.length > 1) {
        judge.miss(
          [...path, 'source'],
          [],
          "required as soon as there is more than one source: another IdP's group is another group",
          `write source: with one of ${ids.join(', ')}`,
        );
      }
    } else if (!ids.includes(source) && idsAreSound) {
      judge.refuse(
        [...path, 'source'],
        `no source has the id ${quote(source)}`,
        `the sources are ${ids.join(', ')}`,
      );
    }
    const named = sources.find(({ id }) => id === source) ?? (sources.length === 1 ? sources[0] : undefined);
    if (named?.mfa.mode === 'trust_idp') {
      judge.warn(
        path,
        'operators need AAL2, and a source with mode trust_idp proves it of those alone whose token carries evidence',
      );
    }
  }
}
