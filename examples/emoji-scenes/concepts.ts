/** The concepts of the scenes: what every emoji set draws, under the names that emojibase gives. */
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { type Artist, allArtists, packageOf } from './artists.js';
import { type Noun, nounOf } from './nouns.js';

/** One thing that a scene may show. */
export interface Concept {
  /** The slug under which all four icon sets draw it, such as `red-apple`. */
  readonly id: string;
  /** Its English name in ASCII, such as `red apple`. */
  readonly label: string;
  /** Further words for it, such as `fruit`. */
  readonly tags: readonly string[];
  readonly noun: Noun;
}

interface EmojibaseEntry {
  readonly label: string;
  readonly hexcode: string;
  readonly tags?: readonly string[];
  /** Unicode group; absent for the regional indicators. */
  readonly group?: number;
  readonly order?: number;
}

/** Unicode groups 3 to 7: animals and nature, food, travel, activities, objects. */
const firstGroup = 3;
const lastGroup = 7;

const require = createRequire(import.meta.url);

async function readJson<T>(specifier: string): Promise<T> {
  return JSON.parse(await readFile(require.resolve(specifier), 'utf8')) as T;
}

/** Icon sets leave out the variation selector FE0F, emojibase keeps it. */
function codePoints(hexcode: string): string {
  return hexcode
    .toLowerCase()
    .split('-')
    .filter((point) => point !== 'fe0f')
    .join('-');
}

function ascii(text: string): string {
  return text
    .normalize('NFD')
    .replace(/[\u0300-\u036f]/g, '')
    .replace(/[\u2018\u2019]/g, "'")
    .replace(/[\u2010-\u2015]/g, '-');
}

/**
 * Code points to slug of one set, without the slugs that it gives to two drawings: OpenMoji's `scroll` is also its own
 * sign for a mouse wheel, and that is what its data has under the name.
 */
async function slugsOf(artist: Artist): Promise<ReadonlyMap<string, string>> {
  const entries = Object.entries(await readJson<Record<string, string>>(`${packageOf(artist)}/chars.json`));
  const uses = new Map<string, number>();
  for (const [, slug] of entries) uses.set(slug, (uses.get(slug) ?? 0) + 1);
  return new Map(entries.filter(([, slug]) => uses.get(slug) === 1));
}

/**
 * Every concept of Unicode groups 3 to 7 that all four icon sets draw under one slug, in Unicode order (about 850).
 * A concept is matched by its code points, never by its name alone; a set that names the same code points otherwise drops it.
 */
export async function loadConcepts(): Promise<Concept[]> {
  const entries = await readJson<EmojibaseEntry[]>('emojibase-data/en/data.json');
  const slugs = await Promise.all(allArtists.map(slugsOf));
  const concepts: Concept[] = [];
  for (const entry of entries) {
    if (entry.group === undefined || entry.group < firstGroup || entry.group > lastGroup) continue;
    const names = new Set(slugs.map((slugOf) => slugOf.get(codePoints(entry.hexcode))));
    const [id] = names;
    if (names.size !== 1 || id === undefined) continue;
    const label = ascii(entry.label);
    concepts.push({ id, label, tags: (entry.tags ?? []).map(ascii), noun: nounOf(label) });
  }
  return concepts;
}
