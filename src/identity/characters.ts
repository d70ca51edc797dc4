/** C0, DEL, C1, lone surrogates, and the line and paragraph separators that some readers take for a line break. */
const control = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}]/u;

/** Whether a text could break out of the line, header or log entry that it is put into. */
export function hasControlCharacter(text: string): boolean {
  return control.test(text);
}

/** ASCII letters lower-cased, and nothing else: full Unicode folding reads the Kelvin sign as `k`, and so another domain as ours. */
export function foldAscii(text: string): string {
  return text.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());
}

/**
 * A header value as Node and undici want it: the UTF-8 bytes of the text, one character for each (they write header
 * strings as latin1, so the bytes on the wire are UTF-8; SPEC section 7).
 */
export function utf8HeaderValue(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1');
}
