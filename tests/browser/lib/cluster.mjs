// The cluster under test: local-cluster's processes and what its events say.
import { Child, until } from './process.mjs';

export class Cluster {
  /** Starts local-cluster with the daemons of directory `bin`, its files in `dir`; waits until all is up. */
  static async start(bin, dir) {
    const cluster = new Cluster();
    cluster.verdicts = [];
    cluster.child = new Child(`${bin}/local-cluster`, ['--json', '--daemons', bin, '--dir', dir]);
    cluster.child.onLine = (line) => cluster.hear(line);
    await until(
      () => {
        if (cluster.child.ended) throw new Error(`local-cluster ended:\n${cluster.child.output.join('\n')}`);
        return cluster.ready;
      },
      90_000,
      () => `the cluster did not come up:\n${cluster.child.output.join('\n')}`,
    );
    return cluster;
  }

  hear(line) {
    if (!line.startsWith('{')) return;
    const event = JSON.parse(line);
    if (event.event === 'ready') this.ready = event;
    if (event.event === 'verdict') this.verdicts.push(event);
  }

  get zone() {
    return this.ready.zone;
  }

  /** The relay with this IP address. */
  relay(ip) {
    const relay = this.ready.relays.find(({ address }) => address.replace(/:\d+$/, '') === ip);
    if (!relay) throw new Error(`${ip} is no relay of the cluster`);
    return relay;
  }

  /** Kills a relay as a crash or a power cut does; returns when, in ms since 1970. */
  kill(relay) {
    const when = Date.now();
    process.kill(relay.pid, 'SIGKILL');
    return when;
  }

  /** When each name server gave the relay up, in ms after `since`. */
  givenUp(relay, since) {
    const after = this.verdicts.filter((v) => v.relay === relay.id && v.at_ms >= since && v.state.toLowerCase() === 'down');
    return after.map((verdict) => verdict.at_ms - since);
  }

  stop() {
    return this.child.stop(15_000);
  }
}
