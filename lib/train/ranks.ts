/** The processes of a data-parallel run, as the training loop and the loader see them. Every rank makes the same calls in the same order. */
import { binding, type NativeRanks } from '../binding.js';
import { type Membership, membership } from '../config/environment.js';
import type { Peers } from '../data/peers.js';
import type { ResolvedDevice } from '../device.js';
import { CotsError } from '../errors.js';

/** All ranks of a run; one that is alone asks nobody. */
export class Ranks {
  readonly rank: number;
  readonly world: number;
  /** For `createTrainer`. */
  readonly native: NativeRanks | null;
  /** What the loader talks to: beside the loop, on connections of its own. */
  readonly peers: Peers;

  private constructor(rank: number, world: number, native: NativeRanks | null) {
    this.rank = rank;
    this.world = world;
    this.native = native;
    this.peers = { rank, world, gather: (value) => this.#gather('data', 'batch', value) };
  }

  /**
   * Meets the other ranks that the environment names. `device`: this rank's, between which steps exchange. Throws `ERR_COTS_CONFIG`, and
   * `ERR_COTS_DISTRIBUTED` after `timeout` seconds.
   */
  static async join(timeout: number, device: ResolvedDevice = 'cpu'): Promise<Ranks> {
    const member = membership();
    if (member === undefined) return Ranks.alone();
    const native = await binding().joinRanks({
      ...meeting(member),
      timeoutMs: Math.ceil(1000 * timeout),
      device,
      cancel: null,
    });
    return new Ranks(member.rank, member.world, native);
  }

  static alone(): Ranks {
    return new Ranks(0, 1, null);
  }

  /** Rank 0 writes what there is one of. */
  get isFirst(): boolean {
    return this.rank === 0;
  }

  /**
   * The values of all ranks, by rank; plain JSON. `what` names the place in the program, which must be the same on all:
   * throws `ERR_COTS_DISTRIBUTED` where it is not, and when a rank has left.
   */
  gather<T>(what: string, value: T): Promise<T[]> {
    return this.#gather('loop', what, value);
  }

  /** Whether it holds on some rank. */
  async any(what: string, holds: boolean): Promise<boolean> {
    return (await this.gather(what, holds)).some(Boolean);
  }

  /** The same bytes of every rank, by rank. */
  async gatherBytes(bytes: Uint8Array): Promise<Uint8Array[]> {
    return this.native === null ? [bytes] : this.native.gather({ channel: 'loop', bytes });
  }

  /** Idempotent. */
  dispose(): void {
    this.native?.dispose();
  }

  async #gather<T>(channel: 'loop' | 'data', what: string, value: T): Promise<T[]> {
    if (this.native === null) return [value];
    const bytes = new TextEncoder().encode(JSON.stringify({ what, value }));
    const all = await this.native.gather({ channel, bytes });
    const found = all.map((part) => JSON.parse(new TextDecoder().decode(part)) as { what: string; value: T });
    const other = found.findIndex((entry) => entry.what !== what);
    if (other >= 0)
      throw new CotsError(
        'ERR_COTS_DISTRIBUTED',
        `Expected all ranks to be at the same place of a run, rank ${this.rank} is at '${what}' and rank ${other} at '${found[other]?.what}'. Let every rank run the same program with the same config.`,
      );
    return found.map((entry) => entry.value);
  }
}

function meeting({ rank, world, address, port, isServer, attempt }: Membership) {
  return { rank, world, address, port, isServer, attempt };
}
