/** The report of `cots data check` as one HTML page that needs nothing else: numbers, histograms, thumbnails of what is wrong. */
import sharp from 'sharp';
import { readMedia } from '../media.js';
import type { CheckReport, Example } from './check-dataset.js';

/** Groups shown with pictures. */
const shownGroups = 20;
const thumbnailSide = 112;

const style = `body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#222}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem;border-bottom:1px solid #ddd}
table{border-collapse:collapse}td,th{padding:.15rem .7rem .15rem 0;text-align:left;vertical-align:top}td.n{text-align:right}
.bad{color:#b2182b;font-weight:600}.good{color:#1b7837}.group{display:flex;flex-wrap:wrap;gap:.6rem;margin:.6rem 0;padding:.6rem;background:#f6f6f6}
figure{margin:0;width:${thumbnailSide}px;font-size:12px;overflow-wrap:anywhere}img{width:${thumbnailSide}px;height:${thumbnailSide}px;object-fit:contain;background:#fff}
.bars{display:flex;align-items:flex-end;height:130px;gap:1px;margin-top:.5rem}.bars div{flex:1;background:#2b6cb0;min-width:2px}.bars div.cut{background:#d9730d}
.axis{display:flex;justify-content:space-between;font-size:12px;color:#666}code{overflow-wrap:anywhere}`;

/** `title` is the data set as the user wrote it. */
export async function reportPage(title: string, report: CheckReport): Promise<string> {
  const { files, duplicates, leaks, ids, captions, sizes } = report;
  const sections = [
    `<h1>${escaped(title)}</h1>`,
    summaryTable(report),
    section(
      'Files that cannot be used',
      files.missing + files.unreadable,
      list(files.examples.map(({ id, message }) => `<b>${escaped(id)}</b>: ${escaped(message)}`)),
    ),
    section('Leaks between splits', leaks.groups, await groups(leaks.examples)),
    section(
      'Duplicate images',
      duplicates.groups,
      `<p>${escaped(duplicates.rule)}.</p>${await groups(duplicates.examples)}`,
    ),
    section('Duplicate ids', ids.duplicates, list(ids.examples.map(escaped))),
    section(
      'Captions that stand more than once',
      captions.duplicates.texts,
      list(captions.duplicates.examples.map(({ caption, count }) => `${count} x ${escaped(caption)}`)),
    ),
    `<h2>Tokens of a caption</h2><p>Mean ${captions.tokens.mean.toFixed(1)}, longest ${captions.tokens.longest}; ${captions.tokens.cut} cut (limit ${captions.tokens.limit}, orange).</p>`,
    bars(captions.tokens.histogram, (tokens) => tokens > captions.tokens.limit),
    '<h2>Captions an entry</h2>',
    bars(captions.anEntry, (count) => count === 0),
    sizes === null ? '' : `<h2>Image sizes</h2>${sizesTable(sizes)}`,
  ];
  return `<!doctype html><html lang="en"><meta charset="utf-8"><title>cots data check: ${escaped(title)}</title><style>${style}</style><body>${sections.join('\n')}</body></html>\n`;
}

function summaryTable({ entries, splits, files, duplicates, leaks, captions }: CheckReport): string {
  const rows: [string, number, boolean][] = [
    ...Object.entries(splits).map(([name, count]): [string, number, boolean] => [
      `entries of ${name}`,
      count,
      false,
    ]),
    ['entries', entries, false],
    ['files that are there and whole', files.good, false],
    ['missing files', files.missing, files.missing > 0],
    ['unreadable files', files.unreadable, files.unreadable > 0],
    ['duplicate images', duplicates.images, duplicates.images > 0],
    ['groups that leak between splits', leaks.groups, leaks.groups > 0],
    ['captions', captions.captions, false],
    ['entries without a caption', captions.anEntry['0'] ?? 0, (captions.anEntry['0'] ?? 0) > 0],
    ['captions without a word', captions.blank, captions.blank > 0],
    ['captions with control characters', captions.withControlCharacters, captions.withControlCharacters > 0],
    ['captions cut at the limit', captions.tokens.cut, captions.tokens.cut > 0],
  ];
  const cells = rows.map(
    ([name, count, bad]) =>
      `<tr><td>${escaped(name)}<td class="n${bad ? ' bad' : ''}">${count.toLocaleString('en-US')}`,
  );
  return `<table>${cells.join('')}</table>`;
}

function sizesTable({ width, height, shorterSide }: NonNullable<CheckReport['sizes']>): string {
  const row = (name: string, { least, median, most }: typeof width) =>
    `<tr><td>${name}<td class="n">${least}<td class="n">${median}<td class="n">${most}`;
  const steps = Object.entries(shorterSide).map(
    ([step, count]) => `${count} of ${step} to ${2 * Number(step) - 1}`,
  );
  return `<table><tr><th>pixels<th>least<th>median<th>most${row('width', width)}${row('height', height)}</table><p>Shorter side: ${steps.join(', ')}.</p>`;
}

function section(title: string, count: number, content: string): string {
  const state = count === 0 ? '<span class="good">none</span>' : `<span class="bad">${count}</span>`;
  return `<h2>${title}: ${state}</h2>${count === 0 ? '' : content}`;
}

function list(items: readonly string[]): string {
  return `<ul>${items.map((item) => `<li>${item}`).join('')}</ul>`;
}

async function groups(examples: readonly (readonly Example[])[]): Promise<string> {
  const shown: string[] = [];
  for (const group of examples.slice(0, shownGroups)) {
    const figures = await Promise.all(group.map(figure));
    shown.push(`<div class="group">${figures.join('')}</div>`);
  }

  return shown.join('');
}

async function figure({ id, split, location, caption }: Example): Promise<string> {
  const picture = await thumbnail(location).catch(() => undefined); // gone since it was looked at
  const image =
    picture === undefined ? '' : `<img alt="" src="data:image/jpeg;base64,${picture.toString('base64')}">`;
  return `<figure>${image}<figcaption><b>${escaped(split)}</b> ${escaped(id)}<br>${escaped(caption)}</figcaption></figure>`;
}

async function thumbnail(location: string): Promise<Buffer> {
  const bytes = await readMedia(location, 'an image');
  return sharp(bytes)
    .rotate()
    .resize(thumbnailSide, thumbnailSide, { fit: 'inside' })
    .flatten({ background: '#fff' })
    .jpeg({ quality: 80 })
    .toBuffer();
}

/** One bar a whole number from the least to the most, those after the 200th together. */
function bars(histogram: Readonly<Record<string, number>>, isWrong: (value: number) => boolean): string {
  const values = Object.keys(histogram)
    .map(Number)
    .sort((a, b) => a - b);
  const [first = 0, last = 0] = [values[0], values.at(-1)];
  const step = Math.max(1, Math.ceil((last - first + 1) / 200));
  const counts = Array.from({ length: Math.floor((last - first) / step) + 1 }, () => 0);
  for (const value of values)
    counts[Math.floor((value - first) / step)] =
      (counts[Math.floor((value - first) / step)] ?? 0) + (histogram[value] ?? 0);
  const most = Math.max(...counts, 1);
  const drawn = counts.map((count, index) => {
    const value = first + index * step;
    const height = count === 0 ? 0 : Math.max(1, (100 * count) / most);
    return `<div title="${value}: ${count}"${isWrong(value) ? ' class="cut"' : ''} style="height:${height.toFixed(1)}%"></div>`;
  });
  return `<div class="bars">${drawn.join('')}</div><div class="axis"><span>${first}</span><span>${last}</span></div>`;
}

/** Text in HTML; control characters become visible ones. */
function escaped(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll(/\p{Cc}/gu, '\uFFFD');
}
