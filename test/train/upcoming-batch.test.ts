/** Looking at the batch after the next one. */
import test from 'ava';
import { UpcomingBatch } from '../../lib/train/upcoming-batch.js';

/** Gives 0, 1, 2, ...: each when it is let go. */
class Gated {
  asked = 0;
  readonly #gates: ((error?: Error) => void)[] = [];

  next(): Promise<number> {
    const number = this.asked++;
    return new Promise((resolve, reject) => {
      this.#gates[number] = (error) => (error === undefined ? resolve(number) : reject(error));
    });
  }

  let(number: number, error?: Error): void {
    this.#gates[number]?.(error);
  }
}

test('a batch that is there is seen, and given next', async (t) => {
  const source = new Gated();
  const batches = new UpcomingBatch(source, true);
  const first = batches.next();
  source.let(0);
  t.is(await first, 0);
  t.is(await batches.peek(), undefined); // asked for, and not there
  source.let(1);
  t.is(await batches.peek(), 1);
  t.is(await batches.peek(), 1);
  t.is(await batches.next(), 1);
  t.is(source.asked, 2);
});

test('a failure is told by next alone, after which the source is asked again', async (t) => {
  const source = new Gated();
  const batches = new UpcomingBatch(source, true);
  t.is(await batches.peek(), undefined);
  source.let(0, new Error('no such file'));
  t.is(await batches.peek(), undefined);
  await t.throwsAsync(batches.next(), { message: 'no such file' });
  const second = batches.next();
  source.let(1);
  t.is(await second, 1);
});

test('where it is not wanted nothing is asked for ahead', async (t) => {
  const source = new Gated();
  const batches = new UpcomingBatch(source, false);
  t.is(await batches.peek(), undefined);
  t.is(source.asked, 0);
});
