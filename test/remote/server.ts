/** A file server on 127.0.0.1 that answers ranges and can fail, stall and change as a test wants. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { ExecutionContext } from 'ava';

/** What the next requests of a file meet instead of their answer. */
export type Fault = 'status 503' | 'status 429' | 'reset' | 'stall' | 'cut';

export interface FileServer {
  readonly url: string;
  /** Contents by path, such as `/a.tar`. */
  readonly files: Map<string, Buffer>;
  /** Faults by path, the first of each is taken by the next request. */
  readonly faults: Map<string, Fault[]>;
  /** Every request: method, path, Range and Authorization. */
  readonly seen: { path: string; range: string | undefined; authorization: string | undefined }[];
  /** Without it the whole file comes whatever range is asked for. */
  ranges: boolean;
  /** Answers a request by itself when it gives a status. */
  guard: ((request: IncomingMessage) => number | undefined) | undefined;
}

export async function startServer(t: ExecutionContext): Promise<FileServer> {
  const server: { -readonly [K in keyof FileServer]: FileServer[K] } = {
    url: '',
    files: new Map(),
    faults: new Map(),
    seen: [],
    ranges: true,
    guard: undefined,
  };
  const http = createServer((request, response) => answer(server, request, response));
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    http.closeAllConnections();
    http.close();
  });
  server.url = `http://127.0.0.1:${(http.address() as AddressInfo).port}`;
  return server;
}

function answer(server: FileServer, request: IncomingMessage, response: ServerResponse): void {
  const path = decodeURIComponent((request.url ?? '').split('?')[0] as string);
  const { range, authorization } = request.headers;
  server.seen.push({ path, range, authorization });
  const status = server.guard?.(request);
  const content = server.files.get(path);
  if (status !== undefined || content === undefined) {
    response.writeHead(status ?? 404).end();
    return;
  }

  const fault = server.faults.get(path)?.shift();
  if (fault?.startsWith('status')) {
    response.writeHead(Number(fault.slice(7)), { 'retry-after': '0' }).end();
    return;
  }

  if (fault === 'reset') {
    request.socket.resetAndDestroy();
    return;
  }

  const part = server.ranges ? partOf(content, range) : undefined;
  const bytes = part === undefined ? content : content.subarray(part.begin, part.end);
  response.writeHead(part === undefined ? 200 : 206, {
    etag: `"${content.length}-${content.reduce((sum, byte) => (31 * sum + byte) >>> 0, 7)}"`,
    'content-length': bytes.length,
    ...(part === undefined
      ? {}
      : { 'content-range': `bytes ${part.begin}-${part.end - 1}/${content.length}` }),
  });
  if (fault === 'stall')
    response.write(bytes.subarray(0, 1)); // and nothing more
  else if (fault === 'cut') response.write(bytes.subarray(0, 1), () => request.socket.destroy());
  else response.end(bytes);
}

function partOf(content: Buffer, range: string | undefined): { begin: number; end: number } | undefined {
  const [, begin, last] = /^bytes=(\d+)-(\d+)$/.exec(range ?? '') ?? [];
  if (begin === undefined || last === undefined) return undefined;
  return { begin: Number(begin), end: Math.min(Number(last) + 1, content.length) };
}
