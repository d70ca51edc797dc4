import { nameOf } from './redis-client.ts';
import type { RedisAddress } from './redis-options.ts';

/** How many slots the keys of a cluster are divided among. */
export const slotCount = 16_384;

/**
 * The slot of a key: CRC-16/XMODEM of its hash tag, or of the whole of it.
 *
 * @see https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#key-distribution-model
 */
export function slotOf(key: string): number {
  const open = key.indexOf('{');
  const close = open === -1 ? -1 : key.indexOf('}', open + 1);
  const hashed = Buffer.from(close > open + 1 ? key.slice(open + 1, close) : key);
  let crc = 0;
  for (const byte of hashed) crc = ((crc << 8) & 0xffff) ^ (crcTable[(crc >> 8) ^ byte] ?? 0);
  return crc % slotCount;
}

const crcTable = Uint16Array.from({ length: 256 }, (_, byte) => {
  let crc = byte << 8;
  for (let bit = 0; bit < 8; bit += 1) crc = (crc & 0x8000) === 0 ? crc << 1 : (crc << 1) ^ 0x1021;
  return crc;
});

/** Who holds which slots, as one node sees it. */
export interface ClusterView {
  readonly masters: readonly RedisAddress[];
  readonly replicas: readonly RedisAddress[];
  /** By slot: the name of its master; undefined where it has none. */
  readonly owners: readonly (string | undefined)[];
  /** Equal for equal divisions of the slots. */
  readonly digest: string;
}

/**
 * Reads the answer to CLUSTER SLOTS. A node that does not know its own address leaves it empty: then it is the one that was asked.
 *
 * @returns undefined for what is no such answer
 * @see https://redis.io/docs/latest/commands/cluster-slots/
 */
export function readClusterSlots(reply: unknown, asked: RedisAddress): ClusterView | undefined {
  if (!Array.isArray(reply)) return undefined;
  const owners = new Array<string | undefined>(slotCount).fill(undefined);
  const masters = new Map<string, RedisAddress>();
  const replicas = new Map<string, RedisAddress>();
  const parts: string[] = [];
  for (const range of reply as readonly unknown[]) {
    if (!Array.isArray(range)) return undefined;
    const [from, to, ...nodes] = range as readonly unknown[];
    const [master, ...others] = nodes.map((node) => readNode(node, asked));
    if (!isSlot(from) || !isSlot(to) || master === undefined) return undefined;
    masters.set(nameOf(master), master);
    for (const other of others) if (other !== undefined) replicas.set(nameOf(other), other);
    owners.fill(nameOf(master), from, to + 1);
    parts.push(`${from}-${to} ${nameOf(master)}`);
  }
  return {
    masters: [...masters.values()],
    replicas: [...replicas.values()],
    owners,
    digest: parts.sort().join('\n'),
  };
}

/** What most of the nodes see: one that was cut off from the others goes on telling what was. The first among equals. */
export function mostCommonView(views: readonly ClusterView[]): ClusterView | undefined {
  const votes = new Map<string, number>();
  for (const { digest } of views) votes.set(digest, (votes.get(digest) ?? 0) + 1);
  const most = Math.max(0, ...votes.values());
  return views.find(({ digest }) => votes.get(digest) === most);
}

function readNode(node: unknown, asked: RedisAddress): RedisAddress | undefined {
  if (!Array.isArray(node)) return undefined;
  const [host, port] = node as readonly unknown[];
  if (typeof port !== 'number') return undefined;
  const known = typeof host === 'string' && host !== '' && host !== '?';
  return { host: known ? host : asked.host, port };
}

function isSlot(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < slotCount;
}
