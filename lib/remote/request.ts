/** One GET request over http(s) or S3, tried again a bounded number of times; a server that goes silent is given up. */
import { setTimeout as wait } from 'node:timers/promises';
import { CotsError, DataError } from '../errors.js';
import { nameOf, parseRemote } from './location.js';
import { signedRequest } from './sign.js';

export interface RangeRequest {
  /** First byte, and how many; absent: the whole file. */
  readonly range?: readonly [begin: number, length: number];
}

export interface RemoteAnswer {
  readonly bytes: Buffer;
  readonly headers: Headers;
  /** Bytes of the whole file; null where the server does not say. */
  readonly total: number | null;
}

/** Tries after the first, and seconds without a byte: COTS_HTTP_RETRIES, COTS_HTTP_TIMEOUT. */
const usual = { retries: 4, timeout: 30 } as const;
/** Milliseconds before the first new try; each further one waits twice as long. */
const firstWait = 250;
/** Seconds that a server's Retry-After may ask for. */
const longestWait = 60;

/** What may be gone at the next try. */
class Passing extends Error {
  readonly retryAfter: number | null;
  constructor(reason: string, options: { cause?: unknown; retryAfter?: number | null } = {}) {
    super(reason, { cause: options.cause });
    this.retryAfter = options.retryAfter ?? null;
  }
}

/**
 * Reads a URL, or a range of its bytes. Throws `ERR_COTS_FILE` for what is not there or not allowed, and after the last try;
 * `ERR_COTS_DATA` for a server that does not answer ranges.
 */
export async function request(location: string, { range }: RangeRequest = {}): Promise<RemoteAnswer> {
  const url = parseRemote(location);
  const retries = setting('COTS_HTTP_RETRIES', usual.retries);
  for (let attempt = 0; ; attempt++) {
    try {
      return await once(url, location, range);
    } catch (error) {
      if (!(error instanceof Passing)) throw error;
      if (attempt >= retries) throw unreachable(location, attempt + 1, error);
      const pause = firstWait * 2 ** attempt * (1 + Math.random() / 2);
      await wait(Math.max(pause, 1000 * Math.min(error.retryAfter ?? 0, longestWait)));
    }
  }
}

function setting(name: string, fallback: number): number {
  const value = Number(process.env[name] || fallback);
  return Number.isFinite(value) && value >= 0 ? value : fallback;
}

async function once(url: URL, location: string, range: RangeRequest['range']): Promise<RemoteAnswer> {
  const silence = new AbortController();
  const seconds = setting('COTS_HTTP_TIMEOUT', usual.timeout);
  const timer = setTimeout(() => silence.abort(new Passing(`no byte for ${seconds} s`)), seconds * 1000);
  try {
    const headers = new Headers();
    if (range !== undefined) headers.set('range', `bytes=${range[0]}-${range[0] + range[1] - 1}`);
    const asked = await signedRequest(url, headers);
    // The bytes as they are stored. fetch adds it to a range by itself, and twice would break the signature.
    if (range === undefined) asked.headers.set('accept-encoding', 'identity');
    const answer = await fetch(asked.url, { headers: asked.headers, signal: silence.signal });
    await refuse(answer, location, range);
    const chunks: Uint8Array[] = [];
    for await (const chunk of answer.body ?? []) {
      chunks.push(chunk);
      timer.refresh();
    }

    const bytes = Buffer.concat(chunks);
    const total = totalOf(answer, bytes.length);
    const wanted = range === undefined ? bytes.length : Math.min(range[1], (total ?? Infinity) - range[0]);
    if (bytes.length !== wanted) throw new Passing(`${bytes.length} of ${wanted} bytes`);
    return { bytes, headers: answer.headers, total };
  } catch (error) {
    if (error instanceof CotsError || error instanceof Passing) throw error;
    throw new Passing(causeOf(error), { cause: error });
  } finally {
    clearTimeout(timer);
    silence.abort();
  }
}

/** Throws for every answer but the one asked for. */
async function refuse(answer: Response, location: string, range: RangeRequest['range']): Promise<void> {
  const { status } = answer;
  if (status === (range === undefined ? 200 : 206)) return;
  if (status >= 500 || status === 429 || status === 408) {
    const after = Number(answer.headers.get('retry-after'));
    throw new Passing(`status ${status}`, { retryAfter: Number.isFinite(after) ? after : null });
  }

  const name = nameOf(location);
  if (range !== undefined && status === 200)
    throw new DataError(
      `Expected the server of ${name} to answer with a range of bytes (status 206), got the whole file. Use a server that knows Range requests, or download the file first.`,
    );
  throw new CotsError('ERR_COTS_FILE', `Expected to read ${name}, got ${reasonOf(status)}`, {
    cause: { code: status === 404 || status === 410 ? 'ENOENT' : `HTTP ${status}` },
  });
}

function reasonOf(status: number): string {
  if (status === 404 || status === 410) return `no such file (status ${status}). Check the URL.`;
  if (status === 401 || status === 403)
    return `permission denied (status ${status}). Check the URL and, for s3://, the credentials in the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION).`;
  if (status === 416) return 'an empty file or one that became shorter (status 416). Check the URL.';
  return `status ${status}. Check the URL.`;
}

/** `Content-Range: bytes 0-0/1234`, or what came of a whole file. */
function totalOf({ status, headers }: Response, received: number): number | null {
  if (status === 200) return received;
  const total = /\/(\d+)$/.exec(headers.get('content-range') ?? '')?.[1];
  return total === undefined ? null : Number(total);
}

/** fetch hides what happened in `cause`; a reason given to `abort` comes as it is. */
function causeOf(error: unknown): string {
  const { cause, message } = error as Error;
  const inner = cause as { code?: string; message?: string } | undefined;
  return inner?.code ?? inner?.message ?? message;
}

function unreachable(location: string, tries: number, last: Passing): CotsError {
  return new CotsError(
    'ERR_COTS_FILE',
    `Expected to read ${nameOf(location)}, got ${last.message} at the last of ${tries} tries. Check the server and the network; COTS_HTTP_RETRIES and COTS_HTTP_TIMEOUT (seconds) give it more.`,
    { cause: last },
  );
}
