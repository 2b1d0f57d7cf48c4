/** A peer in Node, with packages of its own. */
import path from 'node:path';
import { peerPackages, peersFolder } from './environment.js';
import { type PeerOptions, PeerProcess, startPeer } from './peer-process.js';

export class NodePeer extends PeerProcess {
  /** Starts `bench/peers/NAME/peer.mjs` beside the packages of its package.json, whose folder is its first argument. */
  static async start(name: string, options: PeerOptions = {}): Promise<NodePeer> {
    const packages = await peerPackages(name);
    return new NodePeer(
      await startPeer(process.execPath, path.join(peersFolder, name, 'peer.mjs'), {
        ...options,
        arguments: [packages, ...(options.arguments ?? [])],
      }),
    );
  }
}
