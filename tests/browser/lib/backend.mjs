// The app's back end: serves the page, and fetches credentials from whichever relay api.<zone> names.
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';

const FILES = { '/': ['index.html', 'text/html'], '/call.js': ['call.js', 'text/javascript'] };
/** How long one relay may take to issue a credential before the next address is asked, in ms. */
const PATIENCE = 1000;
/** How long the back end tries in all. */
const DEADLINE = 8000;

export class Backend {
  static async start(cluster, resolver) {
    const backend = new Backend();
    Object.assign(backend, { cluster, resolver, issued: [] });
    backend.server = createServer((request, response) => {
      backend.serve(request, response).catch((error) => response.writeHead(502).end(String(error)));
    });
    backend.server.listen(0, '127.0.0.1');
    await once(backend.server, 'listening');
    backend.url = `http://127.0.0.1:${backend.server.address().port}/`;
    return backend;
  }

  async serve(request, response) {
    const url = new URL(request.url, this.url);
    if (url.pathname === '/credentials') {
      const body = await this.credentials(url.searchParams);
      response.writeHead(200, { 'content-type': 'application/json', 'cache-control': 'no-store' }).end(body);
    } else if (FILES[url.pathname]) {
      const [file, type] = FILES[url.pathname];
      const text = await readFile(new URL(`../page/${file}`, import.meta.url));
      response.writeHead(200, { 'content-type': type }).end(text);
    } else {
      response.writeHead(404).end();
    }
  }

  /** Asks the relays behind api.<zone> one after the other, and resolves the name again when none answered. */
  async credentials(parameters) {
    const { zone, api_key: key, relays } = this.cluster.ready;
    const port = relays[0].rest.split(':').pop();
    const deadline = Date.now() + DEADLINE;
    let last = 'no address';
    while (Date.now() < deadline) {
      for (const address of await this.resolver.addresses(`api.${zone}`).catch(() => [])) {
        try {
          const answer = await fetch(`http://${address}:${port}/v1/credentials?${parameters}`, {
            headers: { authorization: `Bearer ${key}` },
            signal: AbortSignal.timeout(PATIENCE),
          });
          const body = await answer.text();
          if (answer.ok) {
            this.issued.push(`${address} issued for ${parameters}`);
            return body;
          }
          last = `${address}: ${answer.status} ${body}`;
        } catch (error) {
          last = `${address}: ${error.cause ?? error}`;
        }
      }
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    throw new Error(`no relay issued credentials; last: ${last}`);
  }

  stop() {
    this.server.closeAllConnections();
    return new Promise((resolve) => this.server.close(resolve));
  }
}
