/** Scenes that a run of minutes can learn: every emoji at one size, at places that suit the patches, and captions that say all. */
import type { SceneOptions } from './options.js';

export const demoMakeUp: Partial<SceneOptions> = {
  shares: [1, 2, 2],
  emojiSize: [
    [0.47, 0.47],
    [0.47, 0.47],
    [0.47, 0.47],
  ],
  centered: 0.2,
  trainCaptions: 5,
  position: 1,
  color: 1,
  testPosition: 1,
  testColor: 1,
  tagged: 0,
};
