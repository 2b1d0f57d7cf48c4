/** Retrieval on the validation pairs in the middle of a run: each rank embeds its slice, and all have the result. */
import type { Matrix } from '../binding.js';
import { snapshotPrecision } from '../config/native.js';
import { sliceOf } from '../data/peers.js';
import { type EmbeddedSplit, embedSplit } from '../evaluate/embed-split.js';
import { textsAnImage } from '../evaluate/protocols.js';
import { evaluateRetrieval, type RetrievalResult } from '../evaluate/retrieval.js';
import { Cots } from '../model/cots.js';
import type { PendingCalls } from '../native-call.js';
import type { PreparedRun } from './prepare-run.js';
import type { Ranks } from './ranks.js';

/** By the online towers as they are. Rejects `signal.reason` on abort, with what `embedSplit` and `evaluateRetrieval` throw. */
export async function validate(
  run: PreparedRun,
  calls: PendingCalls,
  signal: AbortSignal | undefined,
): Promise<RetrievalResult> {
  const { description, tokenizer, native, config, ranks, validation } = run;
  const model = new Cots({
    description,
    tokenizer,
    precision: snapshotPrecision(config),
    native: native.snapshot({ momentum: false }),
  });
  const { begin, end } = sliceOf(validation.length, ranks);
  try {
    return await calls.run(undefined, async () => {
      const own = await embedSplit(model, validation.slice(begin, end), {
        captionsPerImage: textsAnImage(config.evaluate.protocol),
        frames: config.evaluate.frames,
        signal,
      });
      const embedded = await joined(ranks, own, begin);
      const { protocol } = config.evaluate;
      return evaluateRetrieval({ ...embedded, protocol, ...(signal === undefined ? {} : { signal }) });
    });
  } finally {
    model.dispose();
  }
}

/** What all ranks have embedded, in the order of the entries. `first`: entry that this rank's slice begins with. */
async function joined(ranks: Ranks, own: EmbeddedSplit, first: number): Promise<EmbeddedSplit> {
  if (ranks.world === 1) return own;
  const columns = await ranks.gather('columns', own.images.shape[1]);
  const parts = {
    images: await ranks.gatherBytes(bytesOf(own.images.data)),
    texts: await ranks.gatherBytes(bytesOf(own.texts.data)),
    owners: await ranks.gatherBytes(bytesOf(own.imageOfText.map((image) => image + first))),
  };
  const width = Math.max(...columns); // a rank without entries has none
  return {
    images: matrixOf(parts.images, width),
    texts: matrixOf(parts.texts, width),
    imageOfText: Int32Array.from(parts.owners.flatMap((part) => [...new Int32Array(part.slice().buffer)])),
  };
}

function bytesOf({ buffer, byteOffset, byteLength }: Float32Array | Int32Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

function matrixOf(parts: readonly Uint8Array[], columns: number): Matrix {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }

  const data = new Float32Array(bytes.buffer);
  return { data, shape: [data.length / columns, columns] };
}
