/** A manifest as a data set. */
import path from 'node:path';
import { type ManifestEntry, readManifest } from '../manifest.js';

/** Reads a manifest; image and video paths are relative to `images`, by default the manifest's folder. */
export function readJsonl(file: string, images: string | null): Promise<ManifestEntry[]> {
  return readManifest(file, { captions: false, root: images ?? path.dirname(file) });
}
