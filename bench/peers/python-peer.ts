/** A peer in Python, in an environment of its own. */
import path from 'node:path';
import { type PeerGroup, peerPython, peersFolder } from './environment.js';
import { type PeerOptions, PeerProcess, startPeer } from './peer-process.js';

export class PythonPeer extends PeerProcess {
  /** Starts `bench/peers/SCRIPT` in the environment of `group`. */
  static async start(group: PeerGroup, script: string, options: PeerOptions = {}): Promise<PythonPeer> {
    return new PythonPeer(await startPeer(await peerPython(group), path.join(peersFolder, script), options));
  }
}
