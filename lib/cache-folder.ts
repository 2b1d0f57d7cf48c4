/** Where what may be made again is kept: COTS_CACHE, else ~/.cache/cots. */
import { homedir } from 'node:os';
import path from 'node:path';

export function cacheFolder(): string {
  const named = process.env['COTS_CACHE'];
  return named === undefined || named === '' ? path.join(homedir(), '.cache', 'cots') : path.resolve(named);
}
