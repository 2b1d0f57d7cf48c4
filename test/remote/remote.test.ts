/** Data sets behind http and s3: a server that verifies, fails, stalls, changes and refuses (test/remote/server.ts). */
import { createHash, createHmac } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { readMedia } from '../../lib/data/media.js';
import { openDataset } from '../../lib/data/open.js';
import { isRemote, locate, nameOf } from '../../lib/remote/location.js';
import { request } from '../../lib/remote/request.js';
import { cots } from '../support/cli.js';
import { fixturePath } from '../support/fixtures.js';
import { temporaryFolder } from '../support/tiny.js';
import { type FileServer, startServer } from './server.js';

const shard = await readFile(fixturePath('formats/webdataset/pairs-000000.tar'));
const last = await readFile(fixturePath('formats/webdataset/pairs-000001.tar'));

/** A server with two shards, a cache folder of the test's own and short patience. */
async function served(t: ExecutionContext): Promise<FileServer & { cache: string }> {
  const cache = await temporaryFolder(t);
  process.env['COTS_CACHE'] = cache;
  process.env['COTS_HTTP_TIMEOUT'] = '0.4';
  process.env['COTS_HTTP_RETRIES'] = '2';
  const server = await startServer(t);
  server.files.set('/pairs-000000.tar', shard).set('/pairs-000001.tar', last);
  return Object.assign(server, { cache });
}

test.serial('shards: indexed once by ranges, then each picture by its own range', async (t) => {
  const server = await served(t);
  const given = `${server.url}/pairs-{000000..000001}.tar`;
  const { entries, kind } = await openDataset(given);
  t.is(kind, 'webdataset');
  t.deepEqual(
    entries.map(({ id, captions }) => [id, captions[0]]),
    [
      ['pairs-000000/000000000', 'a red box, "small"'],
      ['pairs-000000/000000001', 'a green box, "small"'],
      ['pairs-000000/000000002', 'a blue box, "small"'],
      ['pairs-000001/000000003', 'a yellow box, "small"'],
    ],
  );
  t.true(server.seen.every(({ range }) => range !== undefined));
  server.seen.length = 0;
  for (const index of [3, 0, 2]) {
    const want = await readFile(fixturePath(`formats/manifest/images/${index}.jpg`));
    t.deepEqual(await readMedia(entries[index]?.image as string, 'an image'), want);
  }

  t.deepEqual(
    server.seen.map(({ path, range }) => [path, range !== undefined]),
    [
      ['/pairs-000001.tar', true],
      ['/pairs-000000.tar', true],
      ['/pairs-000000.tar', true],
    ],
  );
  t.is((await readdir(path.join(server.cache, 'shard-index'))).length, 2);

  // Another process takes the index as long as size and ETag are the same.
  const list = await cots('data', 'list', given, '--json');
  t.is(list.code, 0, list.stderr);
  t.is(JSON.parse(list.stdout).entries, 4);
});

test.serial('the index of another version is made again; a change under a run is named', async (t) => {
  const server = await served(t);
  const url = `${server.url}/pairs-000001.tar`;
  const { entries } = await openDataset(url);
  const grown = Buffer.concat([last.subarray(0, last.length), Buffer.alloc(10_240)]);
  server.files.set('/pairs-000001.tar', grown);
  await t.throwsAsync(readMedia(entries[0]?.image as string, 'an image'), {
    code: 'ERR_COTS_DATA',
    message: /to stay as it was when its index was made .* got another version/,
  });
  server.files.set('/pairs-000001.tar', shard);
  const { code, stdout } = await cots('data', 'list', url, '--json');
  t.deepEqual([code, JSON.parse(stdout).entries], [0, 3]);
});

for (const fault of ['status 503', 'status 429', 'reset', 'stall', 'cut'] as const) {
  test.serial(`tried again after ${fault}, and given up after the last try`, async (t) => {
    const server = await served(t);
    const url = `${server.url}/pairs-000000.tar`;
    server.faults.set('/pairs-000000.tar', [fault, fault]);
    t.deepEqual((await request(url, { range: [100, 50] })).bytes, shard.subarray(100, 150));
    t.is(server.seen.length, 3);
    server.faults.set('/pairs-000000.tar', [fault, fault, fault]);
    await t.throwsAsync(request(url), { code: 'ERR_COTS_FILE', message: /at the last of 3 tries/ });
  });
}

test.serial('what is not there or not allowed is told at once, without secrets', async (t) => {
  const server = await served(t);
  await t.throwsAsync(openDataset(`${server.url}/gone.tar`), {
    code: 'ERR_COTS_FILE',
    message: /gone\.tar, got no such file \(status 404\)/,
  });
  t.is(server.seen.length, 1);
  server.guard = () => 403;
  const { message } = (await t.throwsAsync(
    openDataset(`${server.url}/pairs-000000.tar?sig=hunter2`),
  )) as Error;
  t.regex(message, /permission denied \(status 403\)/);
  t.notRegex(message, /hunter2/);
  const withPassword = await t.throwsAsync(openDataset('https://me:hunter2@127.0.0.1/a.tar'), {
    code: 'ERR_COTS_OPTION',
  });
  t.notRegex(withPassword?.message ?? '', /hunter2/);
});

test.serial('a server without ranges is refused with the way out; a refused connection ends', async (t) => {
  const server = await served(t);
  server.ranges = false;
  await t.throwsAsync(openDataset(`${server.url}/pairs-000000.tar`), {
    code: 'ERR_COTS_DATA',
    message: /Range requests, or download the file first/,
  });
  await t.throwsAsync(openDataset('http://127.0.0.1:9/a.tar'), {
    code: 'ERR_COTS_FILE',
    message: /http:\/\/127\.0\.0\.1:9\/a\.tar, got /,
  });
});

test.serial('a manifest and its pictures: relative to the URL, or URLs of their own', async (t) => {
  const server = await served(t);
  const picture = await readFile(fixturePath('formats/manifest/images/0.jpg'));
  server.files.set('/set/images/a b.jpg', picture).set('/other.jpg', picture);
  const lines = [
    { id: '1', image: 'images/a b.jpg', captions: ['one'], split: 'train' },
    { id: '2', image: `${server.url}/other.jpg`, captions: ['two'], split: 'train' },
  ];
  server.files.set('/set/pairs.jsonl', Buffer.from(lines.map((line) => JSON.stringify(line)).join('\n')));
  const { entries } = await openDataset(`${server.url}/set/pairs.jsonl`);
  t.deepEqual(
    entries.map(({ image }) => image),
    [`${server.url}/set/images/a%20b.jpg`, `${server.url}/other.jpg`],
  );
  for (const { image } of entries) t.deepEqual(await readMedia(image as string, 'an image'), picture);
});

/** Signature Version 4 as AWS documents it, to check the signature of a request that was sent. */
function signature({ headers, method, url }: IncomingMessage, secret: string): string {
  const hex = (text: string) => createHash('sha256').update(text).digest('hex');
  const [, scope = '', signed = ''] =
    /Credential=[^/]+\/([^,]+), SignedHeaders=([^,]+)/.exec(headers.authorization ?? '') ?? [];
  const [date = '', region = '', service = ''] = scope.split('/');
  const names = signed.split(';');
  const canonical = [
    method,
    url,
    '',
    ...names.map((name) => `${name}:${String(headers[name]).trim()}`),
    '',
    signed,
    headers['x-amz-content-sha256'],
  ].join('\n');
  const text = ['AWS4-HMAC-SHA256', headers['x-amz-date'], scope, hex(canonical)].join('\n');
  const key = [date, region, service, 'aws4_request'].reduce<string | Buffer>(
    (before, part) => createHmac('sha256', before).update(part).digest(),
    `AWS4${secret}`,
  );
  return createHmac('sha256', key).update(text).digest('hex');
}

test.serial('s3: an endpoint of the environment, signed requests, a session token', async (t) => {
  const server = await served(t);
  server.files.set('/bucket/deep dir/pairs-000000.tar', shard);
  let checked = 0;
  server.guard = (sent) => {
    const [, given] = /Signature=([0-9a-f]{64})/.exec(sent.headers.authorization ?? '') ?? [];
    if (sent.headers['x-amz-security-token'] !== 'session-word') return 403;
    if (given === undefined || given !== signature(sent, 'hunter2')) return 403;
    checked++;
    return undefined;
  };
  const location = 's3://bucket/deep dir/pairs-000000.tar';
  const environment = {
    AWS_ENDPOINT_URL: server.url,
    AWS_ACCESS_KEY_ID: 'AKID',
    AWS_SECRET_ACCESS_KEY: 'hunter2',
    AWS_SESSION_TOKEN: 'session-word',
    AWS_REGION: 'eu-central-1',
  };
  Object.assign(process.env, environment);
  t.teardown(() => {
    for (const name of Object.keys(environment)) delete process.env[name];
  });
  const { entries } = await openDataset(location);
  t.is(entries.length, 3);
  await readMedia(entries[1]?.image as string, 'an image');
  t.true(checked >= 3);
  server.files.set('/bucket/pairs.jsonl', Buffer.from('{"id":"1","image":"a.jpg","captions":["a"]}'));
  t.is((await openDataset('s3://bucket/pairs.jsonl')).entries[0]?.image, 's3://bucket/a.jpg');
  process.env['AWS_SECRET_ACCESS_KEY'] = 'hunter3';
  const error = await t.throwsAsync(openDataset('s3://bucket/deep dir/other.tar'), { code: 'ERR_COTS_FILE' });
  t.regex(error?.message ?? '', /status 403.*AWS_ACCESS_KEY_ID/);
  t.notRegex(error?.message ?? '', /hunter|session-word/);
});

test('locations', (t) => {
  t.deepEqual(['s3://a/b', 'HTTPS://a/b', 'http.tar', '/a/http://b', 'ftp://a'].map(isRemote), [
    true,
    true,
    false,
    false,
    false,
  ]);
  t.is(nameOf('https://user:word@host/a.tar?X-Amz-Signature=1#x'), 'https://host/a.tar');
  t.is(locate('https://h/d/', 'x/y z.jpg'), 'https://h/d/x/y%20z.jpg');
  t.is(locate('s3://b/d', '../e.jpg'), 's3://b/e.jpg');
  t.is(locate('https://h/d/', '/abs.jpg'), '/abs.jpg');
  t.is(locate('/root', 'https://h/a.jpg'), 'https://h/a.jpg');
});
