/** The tables of a track (`stbl`): where each sample (packet) is and when it is shown. All counts are held against the bytes there are. */
import { maxFrames } from '../frame-table.js';
import { boxesOf, optionalBox, theBox, usual } from './boxes.js';

/** In decoding order, an element a sample. */
export interface SampleTable {
  /** Bytes from the beginning of the file. */
  readonly offsets: Float64Array;
  readonly sizes: Uint32Array;
  /** Presentation times on the track's own clock, in ticks: before the edit list. */
  readonly times: Float64Array;
  /** Ticks. */
  readonly durations: Uint32Array;
  readonly isKey: readonly boolean[];
}

/** Throws `UnusualError` and `RangeError`. */
export function sampleTable(stbl: Buffer): SampleTable {
  // Groups may name further places where decoding may begin.
  usual(
    !boxesOf(stbl).some(([type]) => type === 'sbgp' || type === 'sgpd' || type === 'stz2'),
    'plain samples',
  );
  const sizes = sizesOf(theBox(stbl, 'stsz'));
  const count = sizes.length;
  const durations = Uint32Array.from(runLengths(theBox(stbl, 'stts'), count));
  usual(!durations.includes(0), 'samples that last');
  const ctts = optionalBox(stbl, 'ctts');
  const delays = ctts === undefined ? new Int32Array(count) : Int32Array.from(runLengths(ctts, count));
  let decodedAt = 0;
  const times = Float64Array.from(durations, (duration, index) => {
    const time = decodedAt + (delays[index] as number);
    decodedAt += duration;
    return time;
  });
  return { offsets: offsetsOf(stbl, sizes), sizes, times, durations, isKey: keysOf(stbl, count) };
}

/** A table's entries of `width` bytes, of which as many must be there as it says. */
function entriesOf(box: Buffer, width: number, head = 8): [entries: Buffer, count: number] {
  const count = box.readUInt32BE(head - 4);
  const entries = box.subarray(head);
  usual(count * width <= entries.length, 'whole tables');
  return [entries, count];
}

function sizesOf(stsz: Buffer): Uint32Array {
  const same = stsz.readUInt32BE(4);
  usual(stsz.readUInt32BE(8) <= maxFrames, 'a bounded count of samples');
  const [entries, count] = entriesOf(stsz, same === 0 ? 4 : 0, 12);
  usual(count > 0, 'samples');
  return Uint32Array.from({ length: count }, (_, index) =>
    same === 0 ? entries.readUInt32BE(4 * index) : same,
  );
}

/** Runs of (count, value) made a value a sample. */
function runLengths(box: Buffer, samples: number): number[] {
  const [entries, runs] = entriesOf(box, 8);
  const values: number[] = [];
  for (let run = 0; run < runs; run++) {
    const count = entries.readUInt32BE(8 * run);
    usual(values.length + count <= samples, 'a time a sample');
    const value = entries.readInt32BE(8 * run + 4);
    for (let index = 0; index < count; index++) values.push(value);
  }

  usual(values.length === samples, 'a time a sample');
  return values;
}

function keysOf(stbl: Buffer, samples: number): boolean[] {
  const stss = optionalBox(stbl, 'stss');
  if (stss === undefined) return new Array<boolean>(samples).fill(true);
  const [entries, count] = entriesOf(stss, 4);
  const keys = new Array<boolean>(samples).fill(false);
  usual(count > 0, 'key frames');
  for (let index = 0; index < count; index++) {
    const sample = entries.readUInt32BE(4 * index);
    usual(sample >= 1 && sample <= samples, 'key frames among the samples');
    keys[sample - 1] = true;
  }

  return keys;
}

function offsetsOf(stbl: Buffer, sizes: Uint32Array): Float64Array {
  const chunks = chunkOffsets(stbl);
  const [runs, runCount] = entriesOf(theBox(stbl, 'stsc'), 12);
  const offsets = new Float64Array(sizes.length);
  let sample = 0;
  for (let run = 0; run < runCount; run++) {
    const field = (index: number): number => runs.readUInt32BE(12 * run + 4 * index);
    const [first, perChunk] = [field(0), field(1)];
    const next = run + 1 < runCount ? runs.readUInt32BE(12 * (run + 1)) : chunks.length + 1;
    usual(field(2) === 1 && (run > 0 || first === 1), 'one description of the samples');
    usual(first < next && next <= chunks.length + 1, 'chunks in order');
    for (let chunk = first; chunk < next; chunk++) {
      usual(perChunk >= 1 && sample + perChunk <= sizes.length, 'samples for all chunks');
      let at = chunks[chunk - 1] as number;
      for (let index = 0; index < perChunk; index++, sample++) {
        offsets[sample] = at;
        at += sizes[sample] as number;
      }
    }
  }

  usual(sample === sizes.length, 'a chunk for all samples');
  return offsets;
}

function chunkOffsets(stbl: Buffer): Float64Array {
  const stco = optionalBox(stbl, 'stco');
  const [entries, count] = stco === undefined ? entriesOf(theBox(stbl, 'co64'), 8) : entriesOf(stco, 4);
  return Float64Array.from({ length: count }, (_, index) =>
    stco === undefined ? Number(entries.readBigUInt64BE(8 * index)) : entries.readUInt32BE(4 * index),
  );
}
