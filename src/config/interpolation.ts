/** The environment, as far as the configuration may read it. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** A scalar with its variables filled in, or why that cannot be. Names of variables are shown, values never. */
export type Interpolation =
  | { readonly ok: true; readonly text: string; readonly fromEnvironment: boolean }
  | { readonly ok: false; readonly message: string; readonly cure: string };

const variable = /^\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}/;

/**
 * Fills `${NAME}` and `${NAME:-default}` (for an unset or empty variable); `$${` is a literal `${`.
 *
 * Works on one scalar after parsing, so that no value can become structure, and does not look at what it filled in again.
 */
export function interpolate(template: string, env: Environment): Interpolation {
  let text = '';
  let fromEnvironment = false;
  for (let at = 0; at < template.length;) {
    const next = template.indexOf('$', at);
    if (next === -1) return { ok: true, text: text + template.slice(at), fromEnvironment };
    text += template.slice(at, next);
    if (template.startsWith('$${', next)) {
      text += '${';
      at = next + 3;
    } else if (template.startsWith('${', next)) {
      const match = variable.exec(template.slice(next));
      if (match === null) {
        return {
          ok: false,
          message: '${ begins no variable: expected ${NAME} or ${NAME:-default}',
          cure: 'write $${ for a literal ${',
        };
      }
      const name = match[1] ?? '';
      const value = filled(Object.hasOwn(env, name) ? env[name] : undefined, match[2]);
      if (value === undefined) {
        return {
          ok: false,
          message: `the environment variable ${name} is not set`,
          cure: `set ${name}, or write \${${name}:-default}`,
        };
      }
      text += value;
      fromEnvironment = true;
      at = next + match[0].length;
    } else {
      text += '$';
      at = next + 1;
    }
  }
  return { ok: true, text, fromEnvironment };
}

/** As the shell does it: a default also stands in for an empty value. */
function filled(value: string | undefined, fallback: string | undefined): string | undefined {
  return fallback !== undefined && (value === undefined || value === '') ? fallback : value;
}
