import { canonicalTarget } from './canonical-target.ts';

/** A compiled path pattern: literal segments, `*` for one segment, `**` for any number of them, none included. */
export interface Pattern {
  readonly segments: readonly PatternSegment[];
}

type PatternSegment = { readonly literal: string } | '*' | '**';

/** A pattern that cannot be used. */
export interface PatternFault {
  readonly message: string;
  readonly cure: string;
}

/**
 * Compiles a path pattern. Literal segments are brought into the same canonical form as targets are, so that `/a%2db` and `/ä` in a
 * pattern meet `/a-b` and `/%C3%A4` in a request. `%2A` is a literal star.
 */
export function compilePattern(
  path: string,
): { readonly pattern: Pattern } | { readonly fault: PatternFault } {
  if (!path.startsWith('/')) return fault(path, 'has to begin with a slash', `write /${path}`);
  if (/[?#]/.test(path))
    return fault(path, 'is matched with the path alone, never with a query or fragment', 'leave out ? and #');
  if (path.includes('//'))
    return fault(
      path,
      'has an empty segment',
      'write one slash: repeated ones are collapsed before matching',
    );
  const segments: PatternSegment[] = [];
  for (const written of path.split('/').filter((segment) => segment !== '')) {
    if (written === '*' || written === '**') {
      segments.push(written);
      continue;
    }
    if (written.includes('*')) {
      return fault(
        path,
        `has a star inside ${JSON.stringify(written)}`,
        '* and ** stand for whole segments; a literal star is %2A',
      );
    }
    const target = canonicalTarget(`/${toBytes(written)}`);
    const literal = target.ok ? target.segments[0] : undefined;
    if (!target.ok || literal === undefined) {
      const why = target.ok ? 'it is empty' : target.why;
      return fault(
        path,
        `can match no request, because of ${JSON.stringify(written)}: ${why}`,
        'write the path as a request has it',
      );
    }
    segments.push({ literal });
  }
  return { pattern: { segments } };
}

const fault = (path: string, message: string, cure: string) => ({
  fault: { message: `${path} ${message}`, cure },
});

/** UTF-8 bytes as latin1 characters: the shape in which Node hands over a request target. */
const toBytes = (text: string): string => Buffer.from(text, 'utf8').toString('latin1');

/** Whether the canonical `segments` of a target match. Linear but for `**`, where it steps back to the last one only: no blow-up. */
export function matchPattern(pattern: Pattern, segments: readonly string[]): boolean {
  const wanted = pattern.segments;
  let at = 0;
  let index = 0;
  let star = -1;
  let resume = 0;
  while (index < segments.length) {
    const want = wanted[at];
    if (want === '**') {
      star = at;
      resume = index;
      at += 1;
    } else if (want !== undefined && (want === '*' || want.literal === segments[index])) {
      at += 1;
      index += 1;
    } else if (star !== -1) {
      at = star + 1;
      resume += 1;
      index = resume;
    } else return false;
  }
  while (wanted[at] === '**') at += 1;
  return at === wanted.length;
}

/** The literal first segment of a pattern; undefined when it may begin with anything. */
export function firstLiteral(pattern: Pattern): string | undefined {
  const first = pattern.segments[0];
  return typeof first === 'object' ? first.literal : undefined;
}
