// The test: a call in a real browser, its relay is killed, the call must go on over another vendor's.
//
//   node failover.mjs chromium|firefox --bin DIR --work DIR [--lanes a|ab] [--notice ice|gap]
//
// Runs inside a network namespace of its own, made by run.sh. Exits 0 when the call went on.
import { mkdir } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { Backend } from './lib/backend.mjs';
import { BROWSERS, launch, needsNewConnection } from './lib/browsers.mjs';
import { Cluster } from './lib/cluster.mjs';
import { Unbound } from './lib/resolver.mjs';

/** From the kill until data flows both ways. */
const DEADLINE = 30_000;
/** A break shorter than this was none: the relay killed did not carry the call. */
const SHORTEST_BREAK = 400;
/** How long the call goes on first: ICE checks a new connection more often than one that lasts. */
const SETTLED = 5000;

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    bin: { type: 'string' },
    work: { type: 'string' },
    lanes: { type: 'string', default: 'a' },
    notice: { type: 'string', default: 'ice' },
    verbose: { type: 'boolean', default: false },
  },
});
const name = positionals[0];
if (!BROWSERS[name] || !values.bin || !values.work || !/^(a|b|ab)$/.test(values.lanes) || !/^(ice|gap)$/.test(values.notice)) {
  console.error('usage: failover.mjs chromium|firefox --bin DIR --work DIR [--lanes a|b|ab] [--notice ice|gap]');
  process.exit(2);
}

const seconds = (ms) => `${(ms / 1000).toFixed(1)} s`;
const started = [];
const own = async (thing) => {
  const value = await thing;
  started.push(value);
  return value;
};

let page;
let killed = Date.now();

async function run() {
  const home = `${values.work}/home`;
  await mkdir(home, { recursive: true });
  const cluster = await own(Cluster.start(values.bin, `${values.work}/cluster`));
  const servers = cluster.ready.dns_servers.map(({ address }) => address);
  const resolver = await own(Unbound.start(values.work, cluster.zone, servers));
  const backend = await own(Backend.start(cluster, resolver));
  const browser = await launch(name, home);
  started.push({ stop: () => browser.close() });
  console.log(`${await browser.version()}, ${cluster.ready.relays.length} relays, ${servers.length} name servers`);

  page = await browser.newPage();
  await page.goto(backend.url);
  const steady = async (time) => {
    const heard = await page.evaluate((time) => window.call.lively(time), time);
    if (heard.some((count) => count < time / 40)) throw new Error(`data does not flow steadily: ${heard} of ${time / 20} messages`);
  };
  const options = { lanes: [...values.lanes], notice: values.notice, fresh: needsNewConnection(name) };
  await page.evaluate((options) => window.call.start(options), options);
  await steady(SETTLED);
  const before = await page.evaluate(() => window.call.relays());
  const dead = cluster.relay(before[0]);
  const show = (relay) => `${relay.id} (${relay.vendor})`;
  console.log(`call up: ${before.map((ip) => show(cluster.relay(ip))).join(' to ')}; killing ${show(dead)}`);

  killed = cluster.kill(dead);
  await page.evaluate((when) => window.call.killed(when), killed);
  const { resumed, noticed, reconnected, how, relays } = await page.evaluate((time) => window.call.recovered(time), DEADLINE);
  const now = relays.map((ip) => cluster.relay(ip));
  const givenUp = cluster.givenUp(dead, killed).map(seconds).join(', ') || 'never';
  const late = [noticed === null ? 'not noticed by the app' : `noticed after ${seconds(noticed - killed)}`];
  if (reconnected !== null) late.push(`ICE connected again after ${seconds(reconnected - killed)}`);
  console.log(`measured ${name} failover ${seconds(resumed - killed)} (${late.join(', ')})`);
  console.log(`${how}, now ${now.map(show).join(' to ')}; name servers gave ${dead.id} up after ${givenUp}`);

  if (resumed - killed > DEADLINE) throw new Error('too late');
  if (resumed - killed < SHORTEST_BREAK) {
    if (values.lanes.length === 1) throw new Error(`the call never used ${dead.id}: nothing was interrupted`);
    // With two names a browser may have moved over, or sent its data elsewhere from the start: it must stay so.
    console.log('not interrupted: the other name carried the call');
    return steady(15_000);
  }
  for (const relay of now) {
    if (relay.vendor === dead.vendor) throw new Error(`${relay.id} belongs to the dead relay's vendor ${dead.vendor}`);
  }
  await steady(2000);
}

let failure = null;
try {
  await run();
} catch (error) {
  failure = error;
}
if (failure || values.verbose) {
  const events = (await page?.evaluate(() => window.call?.events).catch(() => null)) ?? [];
  for (const [when, text] of events) console.log(`  ${((when - killed) / 1000).toFixed(3).padStart(8)}  ${text}`);
  const { issued } = started.find((thing) => thing instanceof Backend) ?? { issued: [] };
  for (const line of issued) console.log(`  ${line}`);
  for (const { at_ms, dnsd, relay, state, reason } of started.find((thing) => thing instanceof Cluster)?.verdicts ?? []) {
    console.log(`  ${((at_ms - killed) / 1000).toFixed(3).padStart(8)}  ${dnsd}: ${relay} ${state}: ${reason}`);
  }
}
for (const thing of started.reverse()) {
  await thing.stop().catch((error) => console.error(`while stopping: ${error}`));
}
if (failure) console.error(`FAIL ${name} failover: ${failure.message}`);
process.exit(failure ? 1 : 0);
