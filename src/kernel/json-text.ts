/** Every escape that JSON.stringify writes; half a surrogate pair, which it writes by its number, in the group. */
const escapes = /\\(?:u(d[89a-f][0-9a-f]{2})|.)/g;

/**
 * A value as JSON that every reader takes: U+FFFD stands for half of a surrogate pair, in names and values. JSON.stringify writes
 * `\ud800` for one, where jq, for one, reads nothing of the text, nor of whatever follows it.
 *
 * @param indent spaces for each level; default: all on one line
 * @throws TypeError for what JSON cannot hold (a cycle, a bigint)
 * @see RFC 8259 section 8.2, RFC 7493 section 2.1
 */
export function jsonText(value: object, indent?: number): string {
  return JSON.stringify(value, undefined, indent).replace(escapes, (escape, half?: string) =>
    half === undefined ? escape : '\ufffd',
  );
}
