const unitBytes: Readonly<Record<string, number>> = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 };

/** `512B`, `64KiB`, `16MiB`, `2GiB`. */
export const sizePattern = /^(0|[1-9][0-9]{0,9})(B|KiB|MiB|GiB)$/;

/** Bytes of a written size, or undefined when it is none. */
export function parseSize(text: string): number | undefined {
  const match = sizePattern.exec(text);
  const unit = unitBytes[match?.[2] ?? ''];
  return match === null || unit === undefined ? undefined : Number(match[1]) * unit;
}
