/**
 * A folder of embeddings in clip-retrieval's layout (ECOSYSTEM 3.3): `img_emb/img_emb_I.npy`, `text_emb/text_emb_I.npy`,
 * `metadata/metadata_I.parquet` whose row k belongs to row k of both, and `manifest.json`; of videos `video_emb/video_emb_I.npy` and
 * `frame_emb/frame_emb_I.npy`. A partition is written whole or
 * not at all; a run that was stopped goes on with the first partition that is missing.
 */
import { createHash } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import type { Precision } from '../device.js';
import { DataError } from '../errors.js';
import { exists, kindOf, readJson } from '../read-file.js';
import { makeDirectory, refuseForeign, removeUnfinished, writeFileAtomic } from '../write-file.js';
import { type Share, wholeInput } from './embed-share.js';
import type { Entry } from './metadata.js';
import { folders, type Modality } from './partitions.js';

/** The model that made vectors: where it was, and the hash by which it is known again. */
export interface ModelMark {
  readonly path: string;
  readonly hash: string;
  /** Number type of its towers; absent: float32. */
  readonly precision?: Precision;
}

export interface EmbeddingsManifest {
  readonly format: 'cots-embeddings';
  readonly version: 1;
  readonly model: ModelMark;
  readonly dimension: number;
  readonly dtype: 'float32';
  readonly normalized: true;
  /** Partitions and input rows of each modality present; rows that could not be embedded are left out of the files. */
  readonly modalities: Partial<
    Record<
      Modality,
      {
        partitions: number;
        inputHash: string;
        rows: number;
        complete: boolean;
        /** Of videos: how their frames were chosen. */
        sampling?: VideoSampling;
        /** Of images: JPEGs were decoded at a part of their size where that was enough. */
        scaleOnLoad?: true;
      }
    >
  >;
  readonly created: string;
}

/** How the frames of videos are chosen. */
export interface VideoSampling {
  readonly frames?: number;
  readonly fps?: number;
  readonly skipBlack?: boolean;
}

/** Identifies an input: the same entries in the same order and partition size, the same frames of videos. */
export function inputHash(
  entries: readonly Entry[],
  partitionRows: number,
  sampling: VideoSampling | undefined,
): string {
  const hash = createHash('sha256').update(`${partitionRows}\n`);
  if (sampling !== undefined) hash.update(`${JSON.stringify(sampling)}\n`);
  for (const { id, image, caption, video } of entries)
    hash.update(`${JSON.stringify([id, video ?? image, caption])}\n`);
  return hash.digest('hex');
}

/** What a run of `cots embed` is going to write. */
export interface EmbedPlan {
  readonly model: ModelMark;
  readonly dimension: number;
  readonly partitions: number;
  readonly inputHash: string;
  readonly sampling: VideoSampling | undefined;
  readonly scaleOnLoad: boolean;
}

/** Begins or continues a folder. Throws `ERR_COTS_DATA` when it holds the vectors of another model or input. */
export async function beginEmbeddings(
  directory: string,
  modality: Modality,
  plan: EmbedPlan,
  share: Share = wholeInput,
): Promise<EmbeddingsManifest> {
  await refuseForeignEmbeddings(directory);
  const found = (await exists(path.join(directory, 'manifest.json')))
    ? await readEmbeddingsManifest(directory)
    : undefined;
  if (found !== undefined && found.model.hash !== plan.model.hash) {
    throw new DataError(
      `Expected ${directory} to hold vectors of the model ${plan.model.path}, got those of ${found.model.path} (another hash). Use another --out.`,
    );
  }

  const [had, asked] = [found?.model.precision ?? 'float32', plan.model.precision ?? 'float32'];
  if (found !== undefined && had !== asked) {
    throw new DataError(
      `Expected ${directory} to hold vectors of precision ${asked}, got ${had}. Use the same --precision, or another --out.`,
    );
  }

  const images = modality === 'image' ? found?.modalities.image : undefined;
  if (images !== undefined && (images.scaleOnLoad ?? false) !== plan.scaleOnLoad) {
    throw new DataError(
      `Expected ${directory} to hold vectors of images decoded ${plan.scaleOnLoad ? 'with' : 'without'} --scale-on-load, got the other. Use the same flags, or another --out.`,
    );
  }

  const other = Object.entries(found?.modalities ?? {}).find(([, part]) => part.inputHash !== plan.inputHash);
  if (other !== undefined) {
    throw new DataError(
      `Expected ${directory} to be empty or of the same input, got the ${other[0]} vectors of another one (${other[1].rows} rows). Use another --out: texts of a data set are a row a caption, so images and texts share a folder only where every image has one, and videos have one of their own for each way of choosing frames.`,
    );
  }

  const frames = modality === 'video' ? [folders.frames] : [];
  for (const folder of ['', folders[modality], ...frames, 'metadata']) {
    await makeDirectory(path.join(directory, folder));
    // What looks unfinished may be what another process is writing.
    if (share.world === 1) await removeUnfinished(path.join(directory, folder));
  }

  const manifest: EmbeddingsManifest = {
    format: 'cots-embeddings',
    version: 1,
    model: plan.model,
    dimension: plan.dimension,
    dtype: 'float32',
    normalized: true,
    modalities: {
      ...found?.modalities,
      [modality]: {
        partitions: plan.partitions,
        inputHash: plan.inputHash,
        rows: 0,
        complete: false,
        ...(plan.sampling === undefined ? {} : { sampling: plan.sampling }),
        ...(plan.scaleOnLoad ? { scaleOnLoad: true } : {}),
      },
    },
    created: found?.created ?? new Date().toISOString(),
  };
  await writeManifest(directory, manifest);
  return manifest;
}

/** A run that was killed early leaves these without a manifest. */
const ownNames: readonly string[] = [...Object.values(folders), 'metadata'];

async function refuseForeignEmbeddings(directory: string): Promise<void> {
  const names = (await kindOf(directory)) === 'directory' ? await readdir(directory) : [];
  if (names.length > 0 && names.every((name) => ownNames.includes(name))) return;
  await refuseForeign(directory, 'embeddings', 'manifest.json');
}

/** Marks a modality as complete, with the rows that its files hold; the other one's are aligned with them. */
export async function endEmbeddings(
  directory: string,
  manifest: EmbeddingsManifest,
  modality: Modality,
  rows: number,
): Promise<void> {
  const modalities = Object.entries(manifest.modalities).map(([name, part]) => [
    name,
    { ...part, rows, complete: part.complete || name === modality },
  ]);
  await writeManifest(directory, { ...manifest, modalities: Object.fromEntries(modalities) });
}

async function writeManifest(directory: string, manifest: EmbeddingsManifest): Promise<void> {
  await writeFileAtomic(path.join(directory, 'manifest.json'), `${JSON.stringify(manifest, null, 2)}\n`);
}

/** Reads and checks `manifest.json`. */
export async function readEmbeddingsManifest(directory: string): Promise<EmbeddingsManifest> {
  const file = path.join(directory, 'manifest.json');
  if ((await kindOf(file)) !== 'file')
    throw new DataError(
      `Expected ${directory} to be a folder of embeddings, found no manifest.json in it. Make one with \`cots embed\`.`,
    );
  const manifest = (await readJson(file, 'ERR_COTS_DATA')) as EmbeddingsManifest;
  if (manifest?.format !== 'cots-embeddings' || manifest.version !== 1) {
    throw new DataError(
      `Expected ${directory} to hold embeddings of format cots-embeddings 1, got ${manifest?.format} ${manifest?.version}. Make them with \`cots embed\`.`,
    );
  }

  return manifest;
}
