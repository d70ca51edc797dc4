import type { UpstreamConfig } from '../config/schema.ts';
import { hasControlCharacter } from './characters.ts';

/** What a preset says of user names, where the operator's `upstream.username` says nothing. */
export interface UsernameRules {
  /** The whole name must match; undefined: any name. */
  readonly pattern: RegExp | undefined;
  /** Lower-case; an entry that begins with `*` stands for every name that ends with the rest. */
  readonly reserved: readonly string[];
  /** Characters. */
  readonly maxLength: number;
}

/**
 * Forgejo: modules/validation/helpers.go, `validUsernamePatternWithDots` and `invalidUsernamePattern`; Gitea: the same file,
 * `IsValidUsername` (both read in 2026): begins with a letter or digit, then also `-` `_` `.`, never two of these in a
 * row and none at the end. `\w` is ASCII in Go, as here without the `u` flag.
 */
const forgePattern = /^(?!.*[-._]{2})[0-9A-Za-z](?:[-.\w]*[0-9A-Za-z])?$/;

/**
 * models/user/user.go, `reservedUsernames` and `reservedUserPatterns`: the union of Forgejo's and Gitea's lists, with what
 * their older releases reserved, so that a name which is free in one release and a system path in another is never given out.
 */
const forgeReserved: readonly string[] = (
  '. .. - .well-known admin api assets attachments avatar avatars captcha commits debug devtest error explore favicon.ico ' +
  'forgejo-actions ghost gitea-actions help install issues less login manifest.json metrics milestones new notifications org ' +
  'plugins pulls raw repo repo-avatars report_abuse robots.txt search serviceworker.js sitemap.xml ssh_info stars ' +
  'swagger.v1.json template user v2 *.keys *.gpg *.rss *.atom *.png'
).split(' ');

/** Names that an administrator is likely to hold: nobody becomes one by choosing a user name at the IdP (SPEC section 7). */
const powerful: readonly string[] = ['admin', 'root', 'gitea_admin', 'forgejo_admin'];

/** modules/forms (RegisterForm, AdminCreateUserForm): `MaxSize(40)`. A longer name could not be edited in the forge. */
const forge: UsernameRules = {
  pattern: forgePattern,
  reserved: [...forgeReserved, ...powerful],
  maxLength: 40,
};

const anyName: UsernameRules = { pattern: undefined, reserved: [], maxLength: 255 };

/** The rules on user names that each upstream preset brings. */
export const usernameRules: Readonly<Record<UpstreamConfig['preset'], UsernameRules>> = {
  forgejo: forge,
  gitea: forge,
  // Grafana is installed with a server administrator called `admin`, whom X-WEBAUTH-USER would make of anybody.
  grafana: { pattern: undefined, reserved: ['admin'], maxLength: 190 },
  oauth2_proxy: anyName,
  authelia: anyName,
  generic: anyName,
};

/** Letters with a stroke, which Unicode does not take apart and collations that see no accents do. */
const struck: Readonly<Record<string, string>> = {
  đ: 'd',
  ħ: 'h',
  ł: 'l',
  ø: 'o',
  ŧ: 't',
  ƀ: 'b',
  ð: 'd',
  æ: 'ae',
  œ: 'oe',
};

/**
 * How user names are compared: by what is left of them when spacing around them, case, accents, widths and invisible characters are gone.
 *
 * Upstreams fold each in a way of its own: Go lower-cases rune by rune (`İ` to `i`, the Kelvin sign to `k`), others upper-case (`ı` and
 * `ſ` become `I` and `S`, `ß` becomes `SS`), Python folds and normalises, MySQL's collations see no accents. So this one folds more than
 * any of them: of two names that are one to some upstream, the second is refused; so are some that would be two everywhere.
 */
export function foldUsername(username: string): string {
  const folded = foldOnce(username);
  // Lower-casing uncovers what normalising takes apart, and the other way round: again until nothing changes.
  return folded === username ? folded : foldUsername(folded);
}

function foldOnce(text: string): string {
  return (
    text
      .normalize('NFKD')
      .replace(/[\p{M}\p{Default_Ignorable_Code_Point}]/gu, '')
      // Down first: the capital ẞ has no upper case of its own.
      .toLowerCase()
      .toUpperCase()
      .toLowerCase()
      .replace(/[đħłøŧƀðæœ]/g, (letter) => struck[letter] ?? letter)
      .trim()
  );
}

/** The operator's `username.pattern`, anchored at both ends: a pattern that matches a part allows nothing. @throws SyntaxError */
export function compileUsernamePattern(pattern: string): RegExp {
  return new RegExp(`^(?:${pattern})$`, 'u');
}

/** Whether a name is one of the reserved ones, compared by {@link foldUsername}. */
export function isReservedUsername(username: string, reserved: readonly string[]): boolean {
  const folded = foldUsername(username);
  return reserved.some((entry) => {
    const name = foldUsername(entry);
    return name.startsWith('*') ? folded.endsWith(name.slice(1)) : folded === name;
  });
}

/** Whether a (trimmed) name is one that the upstream can have at all: the operator's pattern, else the preset's rules. */
export function isUsableUsername(
  username: string,
  { pattern: written }: Pick<UpstreamConfig['username'], 'pattern'>,
  preset: UpstreamConfig['preset'],
): boolean {
  const rules = usernameRules[preset];
  const pattern = written === undefined ? rules.pattern : compileUsernamePattern(written);
  const fits = username !== '' && username.length <= rules.maxLength && username === username.trim();
  return fits && !hasControlCharacter(username) && pattern?.test(username) !== false;
}
