/** An attention map over its image. */
import sharp from 'sharp';
import type { AttentionMap } from '../model/attention.js';
import { writeFileAtomic } from '../write-file.js';

/** The strongest patch hides so much of the image. */
const strongest = 0.7;
const color = '#ff2a00';

/** Writes a PNG of `pixels` [side, side, 3], red where the map is high, interpolated between the patches. Throws `ERR_COTS_FILE`. */
export async function writeAttentionPicture(
  file: string,
  pixels: Uint8Array,
  side: number,
  { map, grid: [rows, columns] }: Pick<AttentionMap, 'map' | 'grid'>,
): Promise<void> {
  const alpha = await sharp(
    Uint8Array.from(map, (value) => Math.round(255 * strongest * value)),
    { raw: { width: columns, height: rows, channels: 1 } },
  )
    .resize(side, side, { fit: 'fill', kernel: 'linear' })
    .extractChannel(0)
    .raw()
    .toBuffer();
  const layer = await sharp({ create: { width: side, height: side, channels: 3, background: color } })
    .joinChannel(alpha, { raw: { width: side, height: side, channels: 1 } })
    .png()
    .toBuffer();
  const picture = await sharp(pixels, { raw: { width: side, height: side, channels: 3 } })
    .composite([{ input: layer }])
    .removeAlpha()
    .png()
    .toBuffer();
  await writeFileAtomic(file, picture);
}
