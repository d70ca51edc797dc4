import type { Finding, KeyPath } from './faults.ts';
import type { Config } from './schema.ts';

/** Keys whose behaviour is not built yet, as the reference page names them, with where a file uses them. */
const unbuilt: readonly {
  /** `[]` stands for every index. */
  readonly key: string;
  /** Which values are not built, where it is not all but the default. */
  readonly values?: string;
  /** Where the file asks for more than the default. */
  readonly find: (config: Config) => readonly KeyPath[];
}[] = [{ key: 'server.workers', find: ({ server }) => when(server.workers !== 1, ['server', 'workers']) }];

function when(used: boolean, path: KeyPath): readonly KeyPath[] {
  return used ? [path] : [];
}

/** Keys that the file sets to something this version does not do: refused, rather than ignored. */
export function findUnbuilt(config: Config): readonly Finding[] {
  return unbuilt.flatMap(({ key, values, find }) =>
    find(config).map((path): Finding => {
      const message = `not in this version: ${values === undefined ? key : `${key} ${values}`}`;
      return {
        code: 'not_in_this_version',
        path,
        message,
        cure: 'remove the key, or leave it at its default',
      };
    }),
  );
}

/** What is not in this version about the key (`routes[].access`), for the reference page; undefined when it is built. */
export function unbuiltNote(key: string): string | undefined {
  const entry = unbuilt.find((each) => each.key === key);
  if (entry === undefined) return undefined;
  return entry.values === undefined ? 'Not in this version.' : `Not in this version: ${entry.values}.`;
}
