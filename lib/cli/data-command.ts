/** `cots data list|pack|check|noise`: a file a command. */
import type { Command } from 'commander';
import { newGroup } from './command.js';
import { dataCheckCommand } from './data-check-command.js';
import { dataListCommand } from './data-list-command.js';
import { dataNoiseCommand } from './data-noise-command.js';
import { dataPackCommand } from './data-pack-command.js';

export function dataCommand(): Command {
  const group = newGroup('data', 'look at data sets, pack them', 'cots data list data/manifest.jsonl');
  for (const command of [dataListCommand(), dataPackCommand(), dataCheckCommand(), dataNoiseCommand()])
    group.addCommand(command);
  return group;
}
