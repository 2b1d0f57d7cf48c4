/** The bound on waiting for ffmpeg. */
import test from 'ava';
import { WaitingClock } from '../../lib/video/waiting-clock.js';

const never = (): void => {
  throw new Error('too soon');
};

test('what is waited for counts, and the sleep of a machine as one second', (t) => {
  let now = 0;
  const clock = (seconds: number): WaitingClock => new WaitingClock(seconds, never, () => now);
  const short = clock(300);
  now += 250;
  t.is(short.stop(), 299.75);
  const suspended = clock(300);
  now += 3_600_000;
  t.is(suspended.stop(), 299);
});

test('the end comes after as many ticks as it takes, once', async (t) => {
  let now = 0;
  let ends = 0;
  const clock = await new Promise<WaitingClock>((resolve) => {
    const made = new WaitingClock(
      1.01,
      () => {
        ends++;
        resolve(made);
      },
      () => {
        now += 700; // each look at the clock
        return now;
      },
    );
  });
  t.true(clock.stop() <= 0);
  t.is(ends, 1);
});
