/**
 * Text that is already HTML. Only {@link html} makes it, so everything else that reaches a page is escaped: user names,
 * claims and errors of an IdP are written by strangers.
 */
export class Markup {
  readonly #text: string;

  private constructor(text: string) {
    this.#text = text;
  }

  toString(): string {
    return this.#text;
  }

  /** Joins the literal parts of a template with its escaped values. */
  static join(strings: readonly string[], values: readonly Insertable[]): Markup {
    let text = strings[0] ?? '';
    values.forEach((value, index) => {
      text += insert(value) + (strings[index + 1] ?? '');
    });
    return new Markup(text);
  }
}

/** What may stand in an {@link html} template: markup as it is, text and numbers escaped, `undefined` and `false` as nothing. */
export type Insertable = Markup | string | number | undefined | false | readonly Insertable[];

/** A template tag that escapes every value that is not {@link Markup} itself; values belong in text or in quoted attributes. */
export function html(strings: TemplateStringsArray, ...values: readonly Insertable[]): Markup {
  return Markup.join(strings, values);
}

function insert(value: Insertable): string {
  if (value === undefined || value === false) return '';
  if (value instanceof Markup) return value.toString();
  if (typeof value === 'number') return String(value);
  if (typeof value === 'string') return escape(value);
  return value.map(insert).join('');
}

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

function escape(text: string): string {
  return text.replace(/[&<>"']/g, (character) => entities[character] ?? '');
}

/**
 * What a stranger wrote, made fit for a page: control characters, lone surrogates and direction overrides (which can make
 * a line read backwards) become U+FFFD, and what is longer than `limit` characters is cut with an ellipsis.
 */
export function bounded(text: string, limit = 200): string {
  const characters = Array.from(text.slice(0, limit * 2 + 2));
  const cut = characters.length > limit ? [...characters.slice(0, limit), '…'] : characters;
  return cut
    .join('')
    .replace(/[\p{Cc}\p{Cs}\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu, '\ufffd');
}

/** A claim as received, in JSON, bounded as {@link bounded}; `not sent` when it is absent. */
export function shown(value: unknown, limit = 200): string {
  if (value === undefined) return 'not sent';
  return bounded(JSON.stringify(value), limit);
}
