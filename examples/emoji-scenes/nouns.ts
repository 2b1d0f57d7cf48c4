/** English for the names of emoji: articles, plurals, and the names that are no countable noun. */

/** How a concept is spoken of. */
export interface Noun {
  /** With its article where it takes one: `a strawberry`, `grapes`, `the Statue of Liberty`. */
  readonly one: string;
  /** Without an article, for two or more: `strawberries`, `drawings of grapes`. */
  readonly many: string;
}

/** Names that say a state or an activity where a picture shows a thing. */
const renamed: Readonly<Record<string, string>> = {
  locked: 'locked padlock',
  unlocked: 'unlocked padlock',
  'locked with pen': 'locked padlock with pen',
  'locked with key': 'locked padlock with key',
  foggy: 'foggy landscape',
  'speaker low volume': 'speaker at low volume',
  'speaker medium volume': 'speaker at medium volume',
  'speaker high volume': 'speaker at high volume',
  'mount fuji': 'Mount Fuji',
  'milky way': 'Milky Way',
  kaaba: 'Kaaba',
};

const definite = new Set(['Statue of Liberty', 'Milky Way', 'Kaaba']);
const proper = new Set(['Mount Fuji', 'Tokyo tower']);

/** Named in the plural, or a pair: no article, and no count before it. */
const pluralOnly = new Set(
  [
    'paw prints, grapes, cherries, blueberries, peanuts, beans, pancakes, french fries, chopsticks, houses, hot springs, fireworks',
    'sparkles, Japanese dolls, admission tickets, skis, nesting dolls, performing arts, glasses, sunglasses, goggles, jeans, gloves',
    "socks, briefs, shorts, shopping bags, ballet shoes, prayer beads, musical notes, control knobs, film frames, books, woman's clothes",
    'bookmark tabs, card index dividers, linked paperclips, scissors, crossed swords, chains, bubbles, clinking beer mugs',
    'clinking glasses, maracas, flower playing cards',
  ]
    .join(', ')
    .split(', '),
);

/** Not counted: no article. */
const mass = new Set(
  [
    'bread, bacon, meat on bone, popcorn, butter, salt, canned food, cooked rice, curry rice, spaghetti, oden, sushi, shaved ice',
    'custard, sake, mate, ice, broccoli, garlic, pouring liquid, bubble tea, wood, camping, building construction, light rail, construction',
    'high voltage, fog, fire, tennis, bowling, field hockey, ice hockey, lacrosse, ping pong, badminton, yarn, thread, money with wings',
    'soap, dna, cooking',
  ]
    .join(', ')
    .split(', '),
);

const irregular: Readonly<Record<string, string>> = {
  ox: 'oxen',
  goose: 'geese',
  die: 'dice',
  mouse: 'mice',
  wolf: 'wolves',
  leaf: 'leaves',
  scarf: 'scarves',
  sheaf: 'sheaves',
  knife: 'knives',
  cactus: 'cacti',
  snowman: 'snowmen',
  'T-Rex': 'T-Rexes',
};
const unchanged = /^(deer|bison|moose|shrimp|squid|moai|sushi|dango)$|fish$/;
const pluralInOes = new Set(['mango', 'tomato', 'potato', 'buffalo', 'volcano', 'tornado', 'mosquito']);

/** The first of these words ends the part of a name that takes the plural: `ear of corn`, `sun behind cloud`. */
const tail =
  / (?:of|with|without|in|on|at|over|behind|showing|facing|tilted|fluttering|increasing|decreasing|done|not done)(?: |$).*/;

function pluralWord(word: string): string {
  if (irregular[word] !== undefined) return irregular[word];
  if (unchanged.test(word)) return word;
  if (pluralInOes.has(word) || /(?:s|x|z|ch|sh)$/.test(word)) return `${word}es`;
  if (/[^aeiou]y$/.test(word)) return `${word.slice(0, -1)}ies`;
  return `${word}s`;
}

/** Two things that make one emoji, `bow and arrow`, have no plural of their own. */
function isCompound(name: string): boolean {
  return name.replace(tail, '').includes(' and ');
}

function pluralName(name: string): string {
  const end = name.match(tail)?.[0] ?? '';
  const words = name.slice(0, name.length - end.length).split(' ');
  const last = words.pop() as string;
  return [...words, pluralWord(last)].join(' ') + end;
}

/** `a` or `an` by the sound: an hour, a unicorn, an x-ray, a one-piece swimsuit. */
function article(name: string): string {
  if (/^(?:hourglass|herb$|x-ray)/i.test(name)) return 'an';
  if (/^(?:uni|euro|ewe|one|utility)/i.test(name)) return 'a';
  return /^[aeiou]/i.test(name) ? 'an' : 'a';
}

/**
 * The noun of an emoji label (ASCII, as `loadConcepts` gives it).
 *   label  such as `strawberry`, `twelve o'clock`, `grapes`
 * Returns the phrases for one and for several. A name that cannot be counted is counted in drawings: `two drawings of grapes`.
 */
export function nounOf(label: string): Noun {
  const name = renamed[label] ?? (/o'clock$|-thirty$/.test(label) ? `clock at ${label}` : label);
  if (definite.has(name)) return { one: `the ${name}`, many: `drawings of the ${name}` };
  if (mass.has(name) || pluralOnly.has(name) || proper.has(name))
    return { one: name, many: `drawings of ${name}` };
  const one = `${article(name)} ${name}`;
  return { one, many: isCompound(name) ? `drawings of ${one}` : pluralName(name) };
}
