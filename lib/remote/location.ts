/** Locations: a path of this machine, or a URL of the schemes http, https and s3 (`s3://BUCKET/KEY`). */
import path from 'node:path';
import { OptionError } from '../errors.js';

const schemes = ['http:', 'https:', 's3:'];

/** Whether a location is a URL that is read over the network. */
export function isRemote(location: string): boolean {
  return /^(https?|s3):\/\//i.test(location);
}

/** A remote location as a URL. Throws `ERR_COTS_OPTION` for one that is none, or that carries a password. */
export function parseRemote(location: string): URL {
  const url = URL.canParse(location) ? new URL(location) : undefined;
  if (url === undefined || !schemes.includes(url.protocol) || url.hostname === '')
    throw new OptionError(
      `Expected a URL such as https://HOST/FILE or s3://BUCKET/KEY, got ${nameOf(location)}.`,
    );
  if (url.username !== '' || url.password !== '')
    throw new OptionError(
      `Expected a URL without a user or password, got one for ${url.host}. Credentials of S3 come from the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY).`,
    );
  return url;
}

/** A location for messages: a URL without its query and user, which may hold a signature or a password. */
export function nameOf(location: string): string {
  if (!isRemote(location)) return location;
  return location.replace(/^([a-z0-9]+:\/\/)[^/@]*@/i, '$1').replace(/[?#].*$/s, '');
}

/** The last part of a location's path. */
export function baseNameOf(location: string): string {
  return path.posix.basename(nameOf(location));
}

/** The folder of a location: that of a URL ends in `/`. */
export function folderOf(location: string): string {
  return isRemote(location) ? new URL('.', parseRemote(location)).href : path.dirname(location);
}

/** `name` in the folder `root`; a name that is absolute or a URL stays. A local path becomes absolute. */
export function locate(root: string, ...names: string[]): string {
  const last = names.at(-1) ?? '';
  if (isRemote(last)) return last;
  if (!isRemote(root)) return path.resolve(root, ...names);
  if (path.isAbsolute(last)) return last;
  const folder = root.endsWith('/') ? root : `${root}/`;
  const parts = names.flatMap((name) => name.split('/')).filter((part) => part !== '');
  return new URL(parts.map(encodeURIComponent).join('/'), folder).href;
}
