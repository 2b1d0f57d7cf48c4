/** WebDataset shards of made photographs with a caption each. */
import { createWriteStream } from 'node:fs';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import { type Pack, pack } from 'tar-stream';
import { photographJpeg } from './photograph.js';
import { syntheticCaption, uniform } from './synthetic.js';

export interface PhotoShards {
  /** Folder they are written to. */
  readonly folder: string;
  readonly shards: number;
  readonly imagesPerShard: number;
  readonly width: number;
  readonly height: number;
  readonly seed: number;
}

/** Writes the shards; their paths. */
export async function writePhotoShards(options: PhotoShards): Promise<string[]> {
  const { folder, shards, imagesPerShard, width, height, seed } = options;
  const random = uniform(seed);
  const files: string[] = [];
  for (let shard = 0; shard < shards; shard++) {
    const file = path.join(folder, `${String(shard).padStart(6, '0')}.tar`);
    const tar = pack();
    const written = pipeline(tar as AsyncIterable<Buffer>, createWriteStream(file));
    for (let index = 0; index < imagesPerShard; index++) {
      const number = shard * imagesPerShard + index;
      const key = String(number).padStart(9, '0');
      await addFile(tar, `${key}.jpg`, await photographJpeg({ width, height }, seed + number));
      await addFile(tar, `${key}.txt`, Buffer.from(syntheticCaption(12, 500, random)));
    }

    tar.finalize();
    await written;
    files.push(file);
  }

  return files;
}

function addFile(tar: Pack, name: string, content: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    tar.entry({ name }, content, (error) => (error == null ? resolve() : reject(error)));
  });
}
