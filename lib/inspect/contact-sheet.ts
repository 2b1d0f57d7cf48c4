/** Pictures with their captions and scores on one sheet. */
import sharp from 'sharp';
import { readMedia } from '../data/media.js';
import { writeFileAtomic } from '../write-file.js';

export interface Tile {
  /** Location of the picture; one that cannot be read leaves its place gray. */
  readonly image: string;
  readonly caption: string;
  /** A line under the caption. */
  readonly note: string;
}

/** Pixels. */
const side = 144;
const gap = 14;
const lineHeight = 15;
const captionLines = 4;
const titleHeight = 34;
const columns = 8;
const tileWidth = side + gap;
const tileHeight = side + (captionLines + 1) * lineHeight + gap + 8;
/** Letters that fit a line at the size of its font. */
const lineLetters = 22;
/** Pictures read at the same time. */
const atOnce = 8;

/** Writes a PNG of the tiles, row by row under the title. Text is in a font of the machine. Throws `ERR_COTS_FILE`. */
export async function writeContactSheet(file: string, title: string, tiles: readonly Tile[]): Promise<void> {
  const rows = Math.max(1, Math.ceil(tiles.length / columns));
  const [width, height] = [columns * tileWidth + gap, titleHeight + rows * tileHeight + gap];
  const texts = [`<text x="${gap}" y="23" font-size="16" font-weight="bold">${escaped(title)}</text>`];
  const pictures: { input: Buffer; left: number; top: number }[] = [];
  for (let from = 0; from < tiles.length; from += atOnce) {
    const some = tiles.slice(from, from + atOnce);
    const thumbnails = await Promise.all(some.map(({ image }) => thumbnail(image)));
    for (const [index, input] of thumbnails.entries()) {
      const { left, top } = placeOf(from + index);
      texts.push(textsOf(some[index] as Tile, left, top + side));
      pictures.push({ input, left, top });
    }
  }

  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" font-family="DejaVu Sans, Arial, sans-serif" fill="#222">${texts.join('')}</svg>`;
  const sheet = await sharp({ create: { width, height, channels: 3, background: '#fff' } })
    .composite([{ input: Buffer.from(svg), left: 0, top: 0 }, ...pictures])
    .removeAlpha()
    .png()
    .toBuffer();
  await writeFileAtomic(file, sheet);
}

function placeOf(index: number): { left: number; top: number } {
  return {
    left: gap + (index % columns) * tileWidth,
    top: titleHeight + Math.floor(index / columns) * tileHeight,
  };
}

async function thumbnail(location: string): Promise<Buffer> {
  const shape = { width: side, height: side, fit: 'contain', background: '#eee' } as const;
  try {
    const bytes = await readMedia(location, 'an image');
    return await sharp(bytes).rotate().flatten({ background: '#fff' }).resize(shape).png().toBuffer();
  } catch {
    return sharp({ create: { width: side, height: side, channels: 3, background: '#bbb' } })
      .png()
      .toBuffer();
  }
}

function textsOf({ caption, note }: Tile, left: number, top: number): string {
  const lines = linesOf(caption).map(
    (line, index) => `<tspan x="${left}" y="${top + (index + 1) * lineHeight}">${escaped(line)}</tspan>`,
  );
  const below = top + (captionLines + 1) * lineHeight;
  return `<text font-size="11.5">${lines.join('')}</text><text x="${left}" y="${below}" font-size="11.5" fill="#b2182b">${escaped(note)}</text>`;
}

/** Breaks a text between words, long words anywhere; what does not fit ends in dots. */
function linesOf(text: string): string[] {
  const lines: string[] = [];
  for (const word of text.trim().split(/\s+/)) {
    for (const piece of word.match(new RegExp(`.{1,${lineLetters}}`, 'gsu')) ?? []) {
      const longer = lines.length === 0 ? piece : `${lines.at(-1)} ${piece}`;
      if (lines.length > 0 && longer.length <= lineLetters) lines[lines.length - 1] = longer;
      else lines.push(piece);
    }
  }

  if (lines.length <= captionLines) return lines;
  return [...lines.slice(0, captionLines - 1), `${lines[captionLines - 1]?.slice(0, lineLetters - 3)}...`];
}

/** Text in XML, which takes no control characters. */
function escaped(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll(/\p{Cc}|\p{Cs}|[\uFFFE\uFFFF]/gu, '\uFFFD');
}
