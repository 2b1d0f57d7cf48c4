#!/usr/bin/env node
// Sets up, then runs the suite: lint, types, native tests, ava.
//   node scripts/test.mjs [--only lint|types|native|cuda|unit] [arguments for ava, with --only unit]

import { SetupError } from './setup/project.mjs';
import { setUp } from './setup.mjs';
import { stages } from './testing/stages.mjs';
import { finish, runStages } from './testing/summary.mjs';

const args = process.argv.slice(2);
const only = args[0] === '--only' ? args[1] : undefined;
const chosen = stages.filter((stage) => only === undefined || stage.group === only);
if (chosen.length === 0 || (only === undefined && args.length > 0)) {
  const groups = [...new Set(stages.map((stage) => stage.group))].join('|');
  console.error(`Usage: node scripts/test.mjs [--only ${groups}] [arguments for ava, with --only unit]`);
  process.exit(2);
}

// What each group needs of set-up; the whole suite needs all of it.
const kNeeds = {
  lint: ['packages', 'typescript'],
  types: ['packages', 'typescript'],
  native: ['packages', 'native'],
  cuda: ['tools', 'packages', 'libtorch'],
};

try {
  await setUp(kNeeds[only]);
  finish(await runStages(chosen, args.slice(2)));
} catch (error) {
  if (!(error instanceof SetupError)) throw error;
  console.error(`set-up stopped at step ${error.step ?? 'start'}: ${error.message}`);
  finish({ passed: 0, failed: 1, skipped: 0 });
}
