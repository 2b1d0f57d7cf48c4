import test from 'ava';
import { firstHost, localRank, localRanks, membership } from '../../lib/config/environment.js';
import { CotsError } from '../../lib/index.js';

const torchrun = {
  RANK: '3',
  WORLD_SIZE: '4',
  LOCAL_RANK: '1',
  LOCAL_WORLD_SIZE: '2',
  MASTER_ADDR: 'host7',
  MASTER_PORT: '29400',
  TORCHELASTIC_USE_AGENT_STORE: 'True',
  TORCHELASTIC_RESTART_COUNT: '2',
};

test('what torchrun sets: its agent has opened the store, also for rank 0', (t) => {
  const member = membership(torchrun);
  t.deepEqual(member, {
    rank: 3,
    world: 4,
    localWorld: 2,
    address: 'host7',
    port: 29_400,
    isServer: false,
    attempt: '2',
  });
  t.false(membership({ ...torchrun, RANK: '0' })?.isServer);
  t.is(localRanks(torchrun), 2);
});

test('what the Kubernetes training operator sets: rank 0 opens the store', (t) => {
  const pod = { RANK: '0', WORLD_SIZE: '2', MASTER_ADDR: 'job-master-0', MASTER_PORT: '23456' };
  t.like(membership(pod), { rank: 0, world: 2, isServer: true, address: 'job-master-0', port: 23_456 });
  t.false(membership({ ...pod, RANK: '1' })?.isServer);
});

test('what srun sets; what the user has set himself goes first', (t) => {
  const task = {
    SLURM_PROCID: '5',
    SLURM_STEP_NUM_TASKS: '8',
    SLURM_STEP_ID: '1',
    SLURM_JOB_ID: '1234567',
    SLURM_STEP_NODELIST: 'gpu[07-08]',
    SLURM_NTASKS: '8',
  };
  t.like(membership(task), { rank: 5, world: 8, address: 'gpu07', port: 24_567, isServer: false });
  t.like(membership({ ...task, MASTER_ADDR: '10.0.0.1', MASTER_PORT: '1234' }), {
    address: '10.0.0.1',
    port: 1234,
  });
});

test('the batch script of a Slurm job and a single process are alone', (t) => {
  t.is(membership({}), undefined);
  t.is(membership({ SLURM_PROCID: '0', SLURM_NTASKS: '8', SLURM_JOB_ID: '12' }), undefined);
  t.is(membership({ RANK: '0', WORLD_SIZE: '1' }), undefined);
  t.is(localRanks({}), 1);
  t.is(localRanks({ LOCAL_WORLD_SIZE: 'x' }), 1);
});

test('the place of a process on its machine, by torchrun or srun', (t) => {
  t.is(localRank({ LOCAL_RANK: '3' }), 3);
  t.is(localRank({ SLURM_STEP_NUM_TASKS: '8', SLURM_LOCALID: '2' }), 2);
  t.is(localRank({ SLURM_STEP_NUM_TASKS: '8', SLURM_LOCALID: '2', LOCAL_RANK: '1' }), 1);
  t.is(localRank({ SLURM_LOCALID: '2' }), 0, 'the batch script itself');
  t.is(localRank({ LOCAL_RANK: '-1' }), 0);
  t.is(localRank({}), 0);
});

test('the first host of a Slurm list', (t) => {
  const lists = {
    'node[07-09,12],login1': 'node07',
    'node[3,5]': 'node3',
    'a1,a2': 'a1',
    single: 'single',
    'n[001-128].cluster': 'n001.cluster',
  };
  for (const [list, first] of Object.entries(lists)) t.is(firstHost(list), first, list);
});

for (const [name, change, message] of [
  ['a rank outside the world', { RANK: '4' }, /RANK to be a whole number from 0 to 3, got '4'/],
  ['a world that is no number', { WORLD_SIZE: 'two' }, /WORLD_SIZE.*got 'two'/],
  ['no world', { WORLD_SIZE: undefined }, /WORLD_SIZE beside RANK and WORLD_SIZE, got none.*torchrun/],
  ['no rank', { RANK: undefined }, /variable RANK beside/],
  ['no address', { MASTER_ADDR: undefined }, /MASTER_ADDR/],
  ['an empty port', { MASTER_PORT: '' }, /MASTER_PORT/],
  ['a port out of range', { MASTER_PORT: '70000' }, /MASTER_PORT.*from 1 to 65535/],
] as const) {
  test(`refused: ${name}`, (t) => {
    const error = t.throws(() => membership({ ...torchrun, ...change }), { instanceOf: CotsError, message });
    t.is((error as CotsError).code, 'ERR_COTS_CONFIG');
  });
}
