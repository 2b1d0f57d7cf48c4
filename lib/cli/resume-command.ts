/** The command that goes on with a run that was stopped. */

/** What a shell takes as it stands. */
const plainWord = /^[\w@%+=:,./-]+$/;

/** The arguments of this `cots` call with `--resume latest`, quoted for a shell. `words`: what stands behind `cots`. */
export function resumeCommand(words: readonly string[]): string {
  const kept = words.filter(
    (word, index) => word !== '--resume' && words[index - 1] !== '--resume' && !word.startsWith('--resume='),
  );
  return ['cots', ...kept, '--resume', 'latest'].map(quoted).join(' ');
}

function quoted(word: string): string {
  return plainWord.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
