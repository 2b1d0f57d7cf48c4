/** A list of bits as an expression of ffmpeg's evaluator. */

const leafBits = 32; // of the 53 that a number keeps exactly

/** An expression of `n` that is 1 where bit n is set and 0 elsewhere; `beyond` is the bit of every n after the last. */
export function bitExpression(bits: readonly boolean[], beyond: boolean): string {
  const leaves: string[] = [];
  for (let begin = 0; begin < bits.length; begin += leafBits)
    leaves.push(leafOf(bits.slice(begin, begin + leafBits), beyond));
  leaves.push(beyond ? '1' : '0');
  return treeOf(leaves, 0, leaves.length);
}

function leafOf(bits: readonly boolean[], beyond: boolean): string {
  const padded = Array.from({ length: leafBits }, (_, bit) => bits[bit] ?? beyond);
  if (padded.every((bit) => bit === padded[0])) return padded[0] === true ? '1' : '0';
  const value = padded.reduce((sum, bit, index) => sum + (bit ? 2 ** index : 0), 0);
  return `gt(bitand(${value},pow(2,mod(n,${leafBits}))),0)`;
}

/** A binary search; neighbors that are alike become one leaf. */
function treeOf(leaves: readonly string[], begin: number, end: number): string {
  const first = leaves[begin] as string;
  if (leaves.slice(begin, end).every((leaf) => leaf === first)) return first;
  const middle = (begin + end) >> 1;
  return `if(lt(n,${middle * leafBits}),${treeOf(leaves, begin, middle)},${treeOf(leaves, middle, end)})`;
}
