/** `cots data list|pack`: a file a command. */
import type { Command } from 'commander';
import { addMissing, newGroup } from './command.js';
import { dataListCommand } from './data-list-command.js';
import { dataPackCommand } from './data-pack-command.js';

export function dataCommand(): Command {
  const group = newGroup('data', 'look at data sets, pack them', 'cots data list data/manifest.jsonl');
  for (const command of [dataListCommand(), dataPackCommand()]) group.addCommand(command);
  addMissing(group, ['check', 'noise']);
  return group;
}
