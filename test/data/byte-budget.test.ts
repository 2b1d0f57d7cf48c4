import test from 'ava';
import { ByteBudget } from '../../lib/data/byte-budget.js';

const settled = async (promise: Promise<void>) =>
  Promise.race([promise.then(() => true), new Promise((resolve) => setImmediate(resolve, false))]);

test('admits while the bytes last, in order', async (t) => {
  const budget = new ByteBudget(10);
  await budget.acquire(6);
  const second = budget.acquire(5);
  const third = budget.acquire(1);
  t.false(await settled(second));
  t.false(await settled(third));
  t.is(budget.held, 6);
  budget.release(6);
  t.true(await settled(second));
  t.true(await settled(third));
  t.is(budget.held, 6);
});

test('one piece of work is admitted, however large', async (t) => {
  const budget = new ByteBudget(10);
  await budget.acquire(100);
  const next = budget.acquire(1);
  t.false(await settled(next));
  budget.release(100);
  t.true(await settled(next));
});
