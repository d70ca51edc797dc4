/*
 * Request targets that gate and upstream could read in different ways, as data. Who finds one that the gate takes for an open path
 * and the upstream for a closed one has walked past the rules.
 *
 * `{o}` = a segment under which everything is open; `{a}` `{b}` = the closed path's first segment and the rest of it;
 * `{a%}` = with its first character percent-encoded, `{a%%}` = encoded twice, `{A}` = in upper case, `{a^}` = its first character as
 * overlong UTF-8, `{a_}` = all of its characters encoded; the same for `b`. Characters above 0x7F are single bytes.
 */
const templates: Readonly<Record<string, readonly string[]>> = {
  'dot segments, literal': [
    '/{o}/../{a}/{b}',
    '/{o}/./../{a}/{b}',
    '/{o}/x/../../{a}/{b}',
    '/{o}/..//{a}/{b}',
    '/{o}//../{a}/{b}',
    '/{o}/.../../{a}/{b}',
    '/../{a}/{b}',
    '/../../{a}/{b}',
    '/./{a}/{b}',
    '/{a}/./{b}',
    '/{a}/../{a}/{b}',
    '/{a}/x/../{b}',
    '/{a}/{b}/.',
    '/{a}/{b}/./',
    '/{a}/{b}/x/..',
    '/{o}/../{a}/{b}?x=1',
  ],
  'dot segments, encoded once': [
    '/{o}/%2e%2e/{a}/{b}',
    '/{o}/%2E%2E/{a}/{b}',
    '/{o}/.%2e/{a}/{b}',
    '/{o}/%2e./{a}/{b}',
    '/{o}/%2e%2E/{a}/{b}',
    '/{o}/%2e/%2e%2e/{a}/{b}',
    '/%2e/{a}/{b}',
    '/%2e%2e/{a}/{b}',
    '/{a}/%2e/{b}',
    '/{a}/x/%2e%2e/{b}',
    '/{a}/{b}/%2e',
    '/{a}/{b}/x/%2e%2e',
    '/{o}/%2e%2e%2f{a}/{b}',
    '/{o}/..%2f{a}/{b}',
    '/{o}/..%2F{a}%2F{b}',
    '/{o}%2f..%2f{a}%2f{b}',
    '/{o}%2F%2e%2e%2F{a}/{b}',
    '/{o}/x%2f..%2f..%2f{a}/{b}',
  ],
  'dot segments, encoded twice and more': [
    '/{o}/%252e%252e/{a}/{b}',
    '/{o}/%252E%252E/{a}/{b}',
    '/{o}/%252e./{a}/{b}',
    '/{o}/.%252e/{a}/{b}',
    '/{o}/%252e%252e%252f{a}/{b}',
    '/{o}/..%252f{a}/{b}',
    '/{o}%252f..%252f{a}/{b}',
    '/{o}/%25252e%25252e/{a}/{b}',
    '/{o}/%25%32%65%25%32%65/{a}/{b}',
    '/{o}/%%32%65%%32%65/{a}/{b}',
    '/%252e/{a}/{b}',
    '/{a}/%252e/{b}',
  ],
  'dot segments, mixed': [
    '/{o}/.%2e%2f{a}/{b}',
    '/{o}/%2e%252e/{a}/{b}',
    '/{o}/%252e%2e/{a}/{b}',
    '/{o}/..%2f..%252f{a}/{b}',
    '/{o}/%2e%2e/%2e%2e/{a}/{b}',
    '/{o}/../%2e%2e/{a}/{b}',
    '/{o}/%2e%2e\\{a}/{b}',
    '/{o}/%2e%2e%5c{a}/{b}',
    '/{o}//%2e%2e//{a}//{b}',
    '/{o}/%2e%2e;/{a}/{b}',
    '/{o}/..%3b/{a}/{b}',
    '/{o}/..%23/{a}/{b}',
    '/{o}/..%3f/{a}/{b}',
  ],
  backslash: [
    '/{o}\\..\\{a}\\{b}',
    '/{o}/..\\{a}\\{b}',
    '/{o}/\\../{a}/{b}',
    '\\{a}\\{b}',
    '/\\{a}/{b}',
    '/{a}\\{b}',
    '/{o}%5c..%5c{a}%5c{b}',
    '/{o}/..%5c{a}/{b}',
    '/{o}/..%5C{a}%5C{b}',
    '/{a}%5c{b}',
    '/%5c{a}/{b}',
    '/{o}/..%255c{a}/{b}',
    '/{a}%255c{b}',
  ],
  'path parameters': [
    '/{o}/..;/{a}/{b}',
    '/{o}/..;x=1/{a}/{b}',
    '/{o}/.;/../{a}/{b}',
    '/{o};/../{a}/{b}',
    '/;/{a}/{b}',
    '/;x/{a}/{b}',
    '/{a};/{b}',
    '/{a};x=1/{b}',
    '/{a};{o}/{b}',
    '/{a};/{o}/../{b}',
    '/{a}/;/{b}',
    '/{a}/{b};',
    '/{a}/{b};x',
    '/{a}/{b};.css',
    '/{a}%3b/{b}',
    '/{a}%3Bx/{b}',
    '/{a}/{b}%3b.png',
    '/{o};/{a}/{b}',
  ],
  'repeated slashes': [
    '//{a}/{b}',
    '///{a}/{b}',
    '////{a}////{b}',
    '/{a}//{b}',
    '/{a}///{b}//',
    '//{a}//{b}//',
    '//{o}/{a}/{b}',
    '//{o}//..//{a}/{b}',
    '/{a}//{b}?x=//',
    '/{o}//{a}/{b}',
  ],
  'encoded slashes': [
    '/{a}%2F{b}',
    '/{a}%2f{b}',
    '/%2F{a}/{b}',
    '/%2f{a}%2f{b}',
    '/%2f%2f{a}/{b}',
    '%2f{a}%2f{b}',
    '/{a}/%2f{b}',
    '/{a}%2f/{b}',
    '/{a}/{b}%2f',
    '/{o}%2f{a}%2f{b}',
    '/{a}%252f{b}',
    '/{a}%252F{b}',
    '/{a}%25252f{b}',
    '/%252f{a}/{b}',
  ],
  'encoded characters': [
    '/{a%}/{b}',
    '/{a}/{b%}',
    '/{a_}/{b_}',
    '/{a%%}/{b}',
    '/{a}/{b%%}',
    '/{a%%}/{b%%}',
    '/{o}/../{a%}/{b}',
    '/{o}%2f..%2f{a_}/{b_}',
  ],
  'NUL and other control characters': [
    '/{a}\u0000/{b}',
    '/{a}/{b}\u0000',
    '/{a}%00/{b}',
    '/{a}/{b}%00',
    '/{a}/{b}%00.css',
    '/{a}/{b}%00/{o}',
    '/%00{a}/{b}',
    '/{o}/%00../{a}/{b}',
    '/{o}/..%00/{a}/{b}',
    '/{a}%2500/{b}',
    '/{a}%0a/{b}',
    '/{a}/{b}%0d%0a',
    '/{a}%09/{b}',
    '/{a}/{b}\t',
    '/{a}%7f/{b}',
    '/{a}/{b}%20',
    '/%20{a}/{b}',
    '/{a}%20/{b}',
  ],
  'overlong and broken UTF-8': [
    '/{o}/%c0%ae%c0%ae/{a}/{b}',
    '/{o}/%C0%AE%C0%AE%C0%AF{a}/{b}',
    '/{o}/%c0%2e%c0%2e/{a}/{b}',
    '/{o}%c0%af..%c0%af{a}/{b}',
    '/{o}/..%c1%9c{a}/{b}',
    '/{o}/%e0%80%ae%e0%80%ae/{a}/{b}',
    '/{o}/%f0%80%80%ae%f0%80%80%ae/{a}/{b}',
    '/{o}/%e0%40%ae%e0%40%ae/{a}/{b}',
    '/{o}/\u00c0\u00ae\u00c0\u00ae/{a}/{b}',
    '/{a^}/{b}',
    '/{a}/{b^}',
    '/{a}%c0%af{b}',
    '/{a}%ef%bc%8f{b}',
    '/{o}/%ef%bc%8e%ef%bc%8e/{a}/{b}',
    '/{o}/%e2%80%a5/{a}/{b}',
    '/{a}%ff/{b}',
    '/{a}/{b}%80',
    '/{a}%c3/{b}',
    '/\u00ff{a}/{b}',
    '/%ef%bb%bf{a}/{b}',
  ],
  'broken escapes': [
    '/{o}/%2/../{a}/{b}',
    '/{o}/%zz/../{a}/{b}',
    '/{o}/%u002e%u002e/{a}/{b}',
    '/{o}/..%u2215{a}/{b}',
    '/{a}%/{b}',
    '/{a}/{b}%',
    '/{a}/{b}%2',
    '/%{a}/{b}',
    '/{a}/%x{b}',
  ],
  'trailing dots and slashes': [
    '/{a}/{b}/',
    '/{a}/{b}//',
    '/{a}/{b}///',
    '/{a}/{b}.',
    '/{a}/{b}..',
    '/{a}./{b}',
    '/{a}../{b}',
    '/{a}/{b}./',
    '/{a}/{b}%2e',
    '/{a}%2e/{b}',
    '/{a}/{b}/%20',
    '/{a}/{b}~',
    '/{a}/{b}::$DATA',
    '/{a}/{b}.css',
    '/{a}/{b}/x.css',
  ],
  'absolute and other forms': [
    'http://127.0.0.1/{a}/{b}',
    'http://127.0.0.1:80/{a}/{b}',
    'HTTP://127.0.0.1/{a}/{b}',
    'https://127.0.0.1/{a}/{b}',
    'http://user:password@127.0.0.1/{a}/{b}',
    'http:///{a}/{b}',
    'http:/{a}/{b}',
    'http://127.0.0.1/{o}/../{a}/{b}',
    'http://{o}/{a}/{b}',
    '//127.0.0.1/{a}/{b}',
    'file:///{a}/{b}',
    '{a}/{b}',
    '*/{a}/{b}',
    '?/{a}/{b}',
    '/http://127.0.0.1/{a}/{b}',
    '/{o}/http://127.0.0.1/../../../{a}/{b}',
  ],
  'fragments and queries': [
    '/{a}/{b}#',
    '/{a}/{b}#/{o}',
    '/{a}/{b}#/../../{o}/x',
    '/{o}#/../{a}/{b}',
    '/{o}/x?/../../{a}/{b}',
    '/{o}?x=/../{a}/{b}',
    '/{a}/{b}?/{o}/x',
    '/{a}/{b}?',
    '/{a}/{b}%3f',
    '/{a}/{b}%3fx=1',
    '/{a}/{b}%23',
    '/{a}/{b}%23/{o}',
    '/{a}%3f/{b}',
    '/{a}%23/{b}',
    '/{a}/{b}&x=1',
    '/{o}%3f/../{a}/{b}',
    '/{o}%23/../{a}/{b}',
  ],
  case: [
    '/{A}/{b}',
    '/{a}/{B}',
    '/{A}/{B}',
    '/{o}/../{A}/{B}',
    '/{A}//{B}/',
    '/{A};/{b}',
    '/%2e/{A}/{b}',
    '/{A}%2f{B}',
  ],
};

/** A target as an attacker sends it, one character a byte, and the trick in it. */
export interface HostileTarget {
  readonly trick: string;
  readonly target: string;
}

const bytes = (text: string): readonly string[] => Array.from(text);
const escape = (character: string): string => `%${character.charCodeAt(0).toString(16).padStart(2, '0')}`;
const rest = (text: string): string => text.slice(1);

function overlong(character: string): string {
  const code = character.charCodeAt(0);
  return `%c${(code >> 6).toString(16)}%${(0x80 | (code & 0x3f)).toString(16)}`;
}

/** How a part of a path stands in a template, by what is behind its letter. */
const spellings: Readonly<Record<string, (part: string) => string>> = {
  '': (part) => part,
  '%': (part) => escape(part.charAt(0)) + rest(part),
  '%%': (part) => escape(part.charAt(0)).replace('%', '%25') + rest(part),
  '^': (part) => overlong(part.charAt(0)) + rest(part),
  _: (part) =>
    bytes(part)
      .map((character) => (character === '/' ? '/' : escape(character)))
      .join(''),
};

/**
 * The corpus for one closed path.
 * @param open a path of one segment, `/assets`, under which everything is open
 * @param closed the path that is to stay closed, `/user/sign_up`
 */
export function hostileTargets(open: string, closed: string): readonly HostileTarget[] {
  const [a = '', ...others] = closed.slice(1).split('/');
  const b = others.join('/');
  const seen = new Set<string>([closed]);
  return Object.entries(templates).flatMap(([trick, list]) =>
    list.flatMap((template): HostileTarget[] => {
      const target = template.replace(/\{([aboAB])([%^_]*)\}/g, (_, letter: string, spelling: string) => {
        if (letter === 'o') return open.slice(1);
        const part = letter.toLowerCase() === 'a' ? a : b;
        if (letter !== letter.toLowerCase()) return part.toUpperCase();
        return part === '' ? '' : (spellings[spelling]?.(part) ?? part);
      });
      if (seen.has(target)) return [];
      seen.add(target);
      return [{ trick, target }];
    }),
  );
}
