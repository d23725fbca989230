// A recursive resolver between the browser and the cluster's name servers, as every client has one.
import { Resolver } from 'node:dns/promises';
import { writeFile } from 'node:fs/promises';
import { Child, until } from './process.mjs';

/** Where it listens: the namespace's resolv.conf says the same. */
export const ADDRESS = '127.0.0.53';

export class Unbound {
  /** Starts unbound over the zone's name servers (`ip:port` each); waits until it answers for the zone. */
  static async start(dir, zone, servers) {
    const stubs = servers.map((server) => `    stub-addr: ${server.replace(/:(\d+)$/, '@$1')}`).join('\n');
    const text = `server:
    interface: ${ADDRESS}
    port: 53
    access-control: 127.0.0.0/8 allow
    do-daemonize: no
    username: ""
    chroot: ""
    directory: "${dir}"
    pidfile: "${dir}/unbound.pid"
    use-syslog: no
    logfile: ""
    num-threads: 1
    do-ip6: no
    module-config: "iterator"
    do-not-query-localhost: no
    local-zone: "." refuse
    local-zone: "${zone}." transparent
stub-zone:
    name: "${zone}"
${stubs}
remote-control:
    control-enable: no
`;
    await writeFile(`${dir}/unbound.conf`, text);
    const unbound = new Unbound();
    unbound.child = new Child('unbound', ['-d', '-c', `${dir}/unbound.conf`]);
    unbound.resolver = new Resolver({ timeout: 1000, tries: 2 });
    unbound.resolver.setServers([ADDRESS]);
    await until(
      () => unbound.addresses(`api.${zone}`).then((found) => found.length > 0, () => false),
      10_000,
      () => `unbound does not answer for api.${zone}:\n${unbound.child.output.join('\n')}`,
    );
    return unbound;
  }

  addresses(name) {
    return this.resolver.resolve4(name);
  }

  stop() {
    return this.child.stop();
  }
}
