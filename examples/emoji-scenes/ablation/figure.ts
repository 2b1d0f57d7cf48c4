/** The ablation as a picture: a row a variant, a panel a share of noise, a dot a seed and a line at their mean. */
import sharp from 'sharp';
import { noiseShares, variants } from './plan.js';
import type { SummaryRow } from './summary.js';

/** Pixels. */
const labelWidth = 230;
const panelWidth = 360;
const panelGap = 40;
const rowHeight = 34;
const top = 86;
const bottom = 56;
const width = labelWidth + noiseShares.length * (panelWidth + panelGap);

/** Blue and orange, which most color-blind eyes tell apart. */
const colors = ['#2166ac', '#d95f02'];
const font = 'font-family="DejaVu Sans, Arial, sans-serif"';

/** `caption` stands below: what was measured, and on how much. */
export function ablationSvg(rows: readonly SummaryRow[], caption: string): string {
  const height = top + variants.length * rowHeight + bottom;
  const scale = scaleOf(rows);
  const labels = variants.map(
    ({ title }, index) =>
      `<text x="${labelWidth - 14}" y="${rowCenter(index) + 5}" text-anchor="end" font-size="15">${title}</text>`,
  );
  const panels = noiseShares.map((noise, index) =>
    panelSvg(
      rows.filter((row) => row.noise === noise),
      { noise, left: labelWidth + index * (panelWidth + panelGap), color: colors[index] as string },
      scale,
    ),
  );
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" ${font} fill="#222">
<rect width="100%" height="100%" fill="#fff"/>
<text x="16" y="30" font-size="18" font-weight="bold">What each term adds: RSum on the test scenes</text>
${labels.join('\n')}
${panels.join('\n')}
<text x="16" y="${height - 16}" font-size="12" fill="#666">${caption}</text>
</svg>
`;
}

export async function writePng(svg: string, file: string): Promise<void> {
  await sharp(Buffer.from(svg), { density: 144 }).png().toFile(file);
}

interface Scale {
  readonly low: number;
  readonly high: number;
  readonly step: number;
}

interface Panel {
  readonly noise: number;
  readonly left: number;
  readonly color: string;
}

function panelSvg(rows: readonly SummaryRow[], { noise, left, color }: Panel, scale: Scale): string {
  const x = (value: number): number =>
    round(left + (panelWidth * (value - scale.low)) / (scale.high - scale.low));
  const foot = top + variants.length * rowHeight;
  const parts = [
    `<text x="${left + panelWidth / 2}" y="${top - 22}" text-anchor="middle" font-size="15">${Math.round(100 * noise)} % of the captions mismatched</text>`,
  ];
  for (let tick = scale.low; tick <= scale.high + 1e-9; tick += scale.step)
    parts.push(
      `<line x1="${x(tick)}" x2="${x(tick)}" y1="${top - 8}" y2="${foot}" stroke="#ddd"/><text x="${x(tick)}" y="${foot + 18}" text-anchor="middle" font-size="12">${round(tick)}</text>`,
    );
  const base = rows.find(({ variant }) => variant === variants[0].name);
  if (base !== undefined)
    parts.push(
      `<line x1="${x(base.rsum.mean)}" x2="${x(base.rsum.mean)}" y1="${top - 8}" y2="${foot}" stroke="#888" stroke-dasharray="4 4"/>`,
    );
  for (const row of rows) parts.push(rowSvg(row, x, color));
  return parts.join('\n');
}

function rowSvg({ variant, rsums, rsum }: SummaryRow, x: (value: number) => number, color: string): string {
  const center = rowCenter(variants.findIndex(({ name }) => name === variant));
  const dots = rsums.map(
    (value) => `<circle cx="${x(value)}" cy="${center}" r="5" fill="${color}" fill-opacity="0.55"/>`,
  );
  const mean = x(rsum.mean);
  return `${dots.join('')}<line x1="${mean}" x2="${mean}" y1="${center - 11}" y2="${center + 11}" stroke="${color}" stroke-width="3"/>`;
}

function rowCenter(index: number): number {
  return top + (index + 0.5) * rowHeight;
}

/** Round ends around all values, both panels alike. */
function scaleOf(rows: readonly SummaryRow[]): Scale {
  const values = rows.flatMap(({ rsums }) => rsums);
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const step = [1, 2, 5, 10, 20, 50, 100].find((size) => (most - least) / size <= 6) ?? 200;
  const low = Math.floor(least / step) * step;
  return { low, high: Math.max(low + step, Math.ceil(most / step) * step), step };
}

function round(value: number): number {
  return Math.round(100 * value) / 100;
}
