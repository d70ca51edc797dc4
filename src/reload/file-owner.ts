import { readFile, stat } from 'node:fs/promises';

/** Who owns a file, by name where the system knows one (`alice`), else by number (`uid:1000`); undefined where it can't be told. */
export async function ownerOf(file: string): Promise<string | undefined> {
  try {
    const { uid } = await stat(file);
    return (await nameOf(uid)) ?? `uid:${uid}`;
  } catch {
    return undefined;
  }
}

async function nameOf(uid: number): Promise<string | undefined> {
  try {
    const lines = (await readFile('/etc/passwd', 'utf8')).split('\n');
    const entry = lines.map((line) => line.split(':')).find((fields) => fields[2] === String(uid));
    return entry?.[0] === '' ? undefined : entry?.[0];
  } catch {
    return undefined;
  }
}
