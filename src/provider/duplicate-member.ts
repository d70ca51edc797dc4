/**
 * The first member name that a JSON object's top level holds twice, or undefined. JSON.parse silently keeps the last one, other
 * readers the first: a token that says two things says nothing.
 * @param json well-formed JSON, an object at its top
 * @see RFC 7519 section 4, RFC 8259 section 4
 */
export function findDuplicateMember(json: string): string | undefined {
  const names = new Set<string>();
  const tokens = /"(?:[^"\\]|\\.)*"|[{}[\]:]/gs;
  let depth = 0;
  let lastString: string | undefined;
  for (const [token] of json.matchAll(tokens)) {
    if (token === '{' || token === '[') depth += 1;
    else if (token === '}' || token === ']') depth -= 1;
    else if (token !== ':') lastString = token;
    else if (depth === 1 && lastString !== undefined) {
      const name = JSON.parse(lastString) as string;
      if (names.has(name)) return name;
      names.add(name);
    }
  }
  return undefined;
}
