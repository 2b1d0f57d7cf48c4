/** A picture of search: one row a query, its text at the left, then its results with their scores. */
import sharp from 'sharp';

/** One result: the path of its image, its score, and whether it is what the query asks for, where that is known. */
export interface GridResult {
  readonly image: string;
  readonly score: number;
  readonly correct?: boolean | undefined;
}

/** A query and its results, best first. */
export interface GridRow {
  readonly query: string;
  readonly results: readonly GridResult[];
}

/** Pixels: a thumbnail, its frame, the gaps around it, the line of the score below, the column of queries. */
const thumbnail = 128;
const frame = 5;
const gap = 16;
const scoreHeight = 22;
const queryWidth = 270;
const cell = thumbnail + 2 * frame + gap;
const rowHeight = cell + scoreHeight;

const lineHeight = 20;
/** What fits the column of queries at the size of its font. */
const lineLetters = 28;

const rightColor = '#1a9641';
const wrongColor = '#d7191c';
const unknownColor = '#9e9e9e';

function escapeXml(text: string): string {
  return text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');
}

/** Breaks a text between words into lines of at most `lineLetters`, the last one cut where there are more than fit a row. */
function linesOf(text: string): string[] {
  const lines = [''];
  for (const word of text.split(/\s+/)) {
    const longer = `${lines.at(-1)} ${word}`.trim();
    if (longer.length <= lineLetters || lines.at(-1) === '') lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  const most = Math.floor((thumbnail + scoreHeight) / lineHeight);
  return lines.length <= most ? lines : [...lines.slice(0, most - 1), `${lines[most - 1]} ...`];
}

function querySvg(query: string, top: number): string {
  const lines = linesOf(query);
  const first = top + frame + thumbnail / 2 - ((lines.length - 1) * lineHeight) / 2 + 5;
  const spans = lines.map(
    (line, i) => `<tspan x="${gap}" y="${first + i * lineHeight}">${escapeXml(line)}</tspan>`,
  );
  return `<text font-size="16">${spans.join('')}</text>`;
}

function resultSvg({ score, correct }: GridResult, left: number, top: number): string {
  const color = correct === undefined ? unknownColor : correct ? rightColor : wrongColor;
  const side = thumbnail + 2 * frame;
  const label = `<text x="${left + side / 2}" y="${top + side + 17}" font-size="14" text-anchor="middle">${score.toFixed(3)}</text>`;
  return `<rect x="${left}" y="${top}" width="${side}" height="${side}" fill="${color}"/>${label}`;
}

/** A thumbnail, enlarged without smoothing: the images of the scenes are smaller than it. */
async function thumbnailOf(image: string): Promise<Buffer> {
  const shape = {
    width: thumbnail,
    height: thumbnail,
    fit: 'contain',
    kernel: 'nearest',
    background: '#fff',
  } as const;
  return sharp(image).resize(shape).png().toBuffer();
}

/**
 * Writes a PNG: for each row the query and its results, each with its score below, framed green if correct, red if not,
 * gray if that is not known. The text is in a font of the machine; without any it stays blank.
 * `file`'s folder must exist. Rejects if an image cannot be read or the file not written.
 */
export async function writeSearchGrid(options: { rows: readonly GridRow[]; file: string }): Promise<void> {
  const { rows, file } = options;
  const columns = Math.max(1, ...rows.map((row) => row.results.length));
  const [width, height] = [queryWidth + columns * cell + gap, Math.max(1, rows.length) * rowHeight + gap];
  const shapes: string[] = [];
  const images: Promise<{ input: Buffer; left: number; top: number }>[] = [];
  for (const [number, { query, results }] of rows.entries()) {
    const top = gap + number * rowHeight;
    shapes.push(querySvg(query, top));
    for (const [column, result] of results.entries()) {
      const left = queryWidth + column * cell;
      shapes.push(resultSvg(result, left, top));
      images.push(
        thumbnailOf(result.image).then((input) => ({ input, left: left + frame, top: top + frame })),
      );
    }
  }
  const font = 'font-family="DejaVu Sans, Arial, sans-serif" fill="#222"';
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" ${font}>${shapes.join('')}</svg>`;
  const page = { create: { width, height, channels: 3, background: '#fff' } } as const;
  await sharp(page)
    .composite([{ input: Buffer.from(svg), left: 0, top: 0 }, ...(await Promise.all(images))])
    .removeAlpha()
    .png()
    .toFile(file);
}
