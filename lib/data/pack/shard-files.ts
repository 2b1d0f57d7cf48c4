/** The files of one packed shard as img2dataset names and fills them: `00000.tar`, `00000.parquet`, `00000_stats.json`. */
import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { type Pack, pack } from 'tar-stream';
import { CotsError } from '../../errors.js';
import { replaceFile, writeFileAtomic } from '../../write-file.js';
import type { ManifestEntry } from '../manifest.js';
import { type PackedMedia, packedMedia } from './packed-media.js';

/** One shard of `pack.json`. */
export interface PackedShard {
  readonly file: string;
  readonly items: number;
  readonly bytes: number;
  readonly sha256: string;
  /** Of the parquet file beside it. */
  readonly parquetSha256: string;
  /** Items that could not be read and are left out. */
  readonly errors: readonly { readonly id: string; readonly code: string; readonly message: string }[];
}

export interface ShardPlan {
  /** Folder to write. */
  readonly out: string;
  /** Name without ending, such as `00007`: the keys begin with it. */
  readonly name: string;
  readonly rowDigits: number;
  readonly side: number | null;
  readonly signal?: AbortSignal | undefined;
}

/** Images read at the same time; a video may be large, so they go one by one. */
const readAhead = 16;

/** One row of the parquet file: what became of an item. */
interface Row {
  readonly key: string;
  readonly entry: ManifestEntry;
  readonly media: Omit<PackedMedia, 'bytes'> | CotsError;
}

/** Writes the three files of a shard; each appears whole. Throws `ERR_COTS_FILE`, and `signal.reason`. */
export async function writeShard(plan: ShardPlan, part: readonly ManifestEntry[]): Promise<PackedShard> {
  const { out, name } = plan;
  const rows: Row[] = [];
  const hash = createHash('sha256');
  let bytes = 0;
  await replaceFile(path.join(out, `${name}.tar`), async (temporary) => {
    const tar = pack();
    async function* measured(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
      for await (const chunk of chunks) {
        hash.update(chunk);
        bytes += chunk.length;
        yield chunk;
      }
    }

    const written = pipeline(tar as AsyncIterable<Buffer>, measured, createWriteStream(temporary));
    written.catch(() => {}); // awaited below
    await Promise.race([written, addItems(tar, plan, part, rows)]);
    tar.finalize();
    await written;
  });
  const parquetSha256 = await writeParquet(path.join(out, `${name}.parquet`), rows);
  await writeFileAtomic(path.join(out, `${name}_stats.json`), `${JSON.stringify(statsOf(rows), null, 4)}\n`);
  const errors = rows.flatMap(({ entry, media }) =>
    media instanceof CotsError ? [{ id: entry.id, code: media.code, message: media.message }] : [],
  );
  return {
    file: `${name}.tar`,
    items: rows.length - errors.length,
    bytes,
    sha256: hash.digest('hex'),
    parquetSha256,
    errors,
  };
}

async function addItems(
  tar: Pack,
  { name, rowDigits, side, signal }: ShardPlan,
  part: readonly ManifestEntry[],
  rows: Row[],
): Promise<void> {
  for (let from = 0; from < part.length; ) {
    signal?.throwIfAborted();
    const count = part[from]?.video === undefined ? readAhead : 1;
    const some = part
      .slice(from, from + count)
      .filter((entry, index) => index === 0 || entry.image !== undefined);
    const found = await Promise.all(some.map((entry) => packedMedia(entry, side)));
    for (const [index, media] of found.entries()) {
      const entry = some[index] as ManifestEntry;
      const key = `${name}${String(from + index).padStart(rowDigits, '0')}`;
      if (media instanceof CotsError) rows.push({ key, entry, media });
      else {
        await addItem(tar, key, entry, media);
        const { bytes: _, ...facts } = media;
        rows.push({ key, entry, media: facts });
      }
    }

    from += some.length;
  }
}

/** Times and owners are constant, so that the same input gives the same bytes. */
async function addItem(tar: Pack, key: string, entry: ManifestEntry, media: PackedMedia): Promise<void> {
  const { image: _, video: __, ...fields } = entry;
  await addFile(tar, `${key}.${media.ending}`, media.bytes);
  await addFile(tar, `${key}.txt`, Buffer.from(entry.captions.map(oneLine).join('\n')));
  await addFile(
    tar,
    `${key}.json`,
    Buffer.from(JSON.stringify({ key, caption: entry.captions[0] ?? '', ...fields })),
  );
}

/** All that some reader takes for the end of a line becomes a space; the JSON file has the caption as it is. */
export function oneLine(caption: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: line ends of Python's splitlines
  return caption.replaceAll(/\s*[\r\n\v\f\u001c-\u001e\u0085\u2028\u2029]+\s*/g, ' ');
}

function addFile(tar: Pack, name: string, content: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    const header = { name, size: content.length, mtime: new Date(0), mode: 0o644 };
    const entry = tar.entry(header, content, (error) => (error == null ? resolve() : reject(error)));
    entry.on('error', reject);
  });
}

/** img2dataset's columns, `url` being where the item came from, and the manifest's id and split. */
async function writeParquet(file: string, rows: readonly Row[]): Promise<string> {
  const facts = rows.map(({ media }) => (media instanceof CotsError ? undefined : media));
  const errors = rows.map(({ media }) => (media instanceof CotsError ? media : undefined));
  const text = (name: string, data: (string | null)[]) => ({
    name,
    data,
    type: 'STRING' as const,
    nullable: true,
  });
  const number = (name: string, data: (number | null)[]) => ({
    name,
    data,
    type: 'INT32' as const,
    nullable: true,
  });
  const content = parquetWriteBuffer({
    columnData: [
      text(
        'url',
        rows.map(({ entry }) => (entry.image ?? entry.video) as string),
      ),
      text(
        'key',
        rows.map(({ key }) => key),
      ),
      text(
        'status',
        errors.map((error) => (error === undefined ? 'success' : 'failed_to_download')),
      ),
      text(
        'error_message',
        errors.map((error) => error?.message ?? null),
      ),
      text(
        'caption',
        rows.map(({ entry }) => entry.captions[0] ?? null),
      ),
      number(
        'width',
        facts.map((one) => one?.width ?? null),
      ),
      number(
        'height',
        facts.map((one) => one?.height ?? null),
      ),
      number(
        'original_width',
        facts.map((one) => one?.originalWidth ?? null),
      ),
      number(
        'original_height',
        facts.map((one) => one?.originalHeight ?? null),
      ),
      text(
        'sha256',
        facts.map((one) => one?.sha256 ?? null),
      ),
      text(
        'id',
        rows.map(({ entry }) => entry.id),
      ),
      text(
        'split',
        rows.map(({ entry }) => entry.split),
      ),
    ],
  });
  await writeFileAtomic(file, new Uint8Array(content));
  return createHash('sha256').update(new Uint8Array(content)).digest('hex');
}

/** Without the times of img2dataset's, so that the same input gives the same bytes. */
function statsOf(rows: readonly Row[]): object {
  const failed = rows.filter(({ media }) => media instanceof CotsError);
  const status: Record<string, number> = { success: rows.length - failed.length };
  for (const { media } of failed) {
    const { code } = media as CotsError;
    status[code] = (status[code] ?? 0) + 1;
  }

  return {
    count: rows.length,
    successes: rows.length - failed.length,
    failed_to_download: failed.length,
    failed_to_resize: 0,
    status_dict: status,
  };
}
