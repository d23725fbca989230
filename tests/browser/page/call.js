// A call between two ends in one page, both on relays only, and what an app does when it breaks.
//
// `window.call` is driven from outside: start(), relays(), killed(when), recovered(), lively().
// All times are milliseconds since 1970: the page and the test read the same clock.

const PACE = 20; // between two messages of each end
const MARGIN = 250; // after the kill: what is sent later cannot have passed the dead relay
const SILENCE = 500; // what `notice: 'gap'` takes for a break
const PATIENCE = 4000; // until a repair that brought no data is followed by the next one

/** One end: its connection, its channel, the relay it uses, what it has heard. */
class End {
  constructor(user, log) {
    Object.assign(this, { user, log, relay: null, heard: 0, count: 0, resumed: null, killedAt: Infinity });
  }

  /** A new connection under `configuration`; an older one is closed. */
  connect(configuration, onState) {
    this.pc?.close();
    this.pc = new RTCPeerConnection(configuration);
    this.pc.oniceconnectionstatechange = () => {
      this.log(`${this.user}: ICE ${this.pc.iceConnectionState}`);
      onState(this.pc.iceConnectionState);
    };
    this.pc.onicecandidateerror = (e) => this.log(`${this.user}: ${e.url}: error ${e.errorCode} ${e.errorText}`);
    this.pc.ondatachannel = (e) => this.use(e.channel);
  }

  use(channel) {
    this.channel = channel;
    channel.onmessage = (e) => {
      this.heard = Date.now();
      this.count += 1;
      // The other end's time of sending is the message.
      if (this.resumed === null && Number(e.data) >= this.killedAt + MARGIN) this.resumed = this.heard;
    };
  }

  /** Sends the time, unless earlier messages still wait: those that cannot go are lost, as media is. */
  speak() {
    if (this.channel?.readyState === 'open' && this.channel.bufferedAmount < 200) this.channel.send(String(Date.now()));
  }

  /** Looks up which relay carries the data: the address of the selected pair's local candidate. */
  async look() {
    const pc = this.pc;
    const stats = await pc.getStats();
    let pair = null;
    for (const report of stats.values()) {
      if (report.type === 'transport' && report.selectedCandidatePairId) pair = stats.get(report.selectedCandidatePairId);
      if (report.type === 'candidate-pair' && report.selected) pair = report; // Firefox
    }
    const local = pair && stats.get(pair.localCandidateId);
    if (local && pc === this.pc) {
      if (local.candidateType !== 'relay') throw new Error(`${this.user} uses a ${local.candidateType} candidate`);
      this.relay = local.address ?? local.ip;
    }
    return this.relay;
  }
}

class Call {
  constructor() {
    this.begun = Date.now();
    this.events = [];
    const log = (text) => this.events.push([Date.now(), text]);
    this.log = log;
    this.ends = [new End('alice', log), new End('bob', log)];
    this.noticed = null;
    this.reconnected = null;
    this.how = 'by itself';
  }

  /** Opens the call. `lanes`: which of the credential's names to use; `notice`: 'ice' or 'gap'; `fresh`: whether a second
   *  repair needs new connections. */
  async start({ lanes, notice, fresh }) {
    Object.assign(this, { lanes, notice, fresh });
    await this.renew('new');
    setInterval(() => this.ends.forEach((end) => end.speak()), PACE);
    setInterval(() => this.watch(), 100);
    await until(() => this.ends.every((end) => end.count > 0), 20000, 'no data came through');
    await until(async () => (await this.relays()).every(Boolean), 5000, 'no selected candidate pair');
  }

  relays() {
    return Promise.all(this.ends.map((end) => end.look()));
  }

  killed(when) {
    for (const end of this.ends) end.killedAt = when;
  }

  get resumed() {
    return this.ends.every((end) => end.resumed !== null) ? Math.max(...this.ends.map((end) => end.resumed)) : null;
  }

  /** Waits for data both ways; tells what happened. */
  async recovered(deadline) {
    await until(() => this.resumed !== null, deadline, 'data did not flow again');
    const how = this.how;
    // The pair in the statistics may lag behind the data.
    const dead = this.dead ?? [];
    await until(async () => (await this.relays()).every((relay, i) => relay && relay !== dead[i]), 5000, '').catch(() => {});
    return { resumed: this.resumed, noticed: this.noticed, reconnected: this.reconnected, how, relays: await this.relays() };
  }

  /** How many messages each end hears within `time` ms. */
  async lively(time) {
    const before = this.ends.map((end) => end.count);
    await sleep(time);
    return this.ends.map((end, i) => end.count - before[i]);
  }

  /** What an app watches: here the silence of the data; the state of ICE comes by event. */
  async watch() {
    const silent = this.ends.some((end) => end.count > 0 && Date.now() - end.heard > SILENCE);
    if (this.notice === 'gap' && silent) this.notices('silence');
  }

  changed(state) {
    if (state === 'disconnected' && this.notice === 'ice') this.notices('ICE disconnected');
    // Data follows when SCTP's retransmission timer next fires, up to some seconds later: its backoff doubled in the break.
    if (state === 'connected' && this.noticed !== null) this.reconnected ??= Date.now();
  }

  notices(what) {
    if (this.noticed !== null || !this.ends.every((end) => end.count > 0)) return;
    this.noticed = Date.now();
    this.log(`noticed: ${what}`);
    this.repair().catch((error) => this.log(`repair: ${error}`));
  }

  /** What an app does about it: new credentials that name the relays which failed, then an ICE restart; if that brings no
   *  data, again, with new connections where the browser needs them. */
  async repair() {
    this.dead = this.ends.map((end) => end.relay);
    for (let kind = 'restart'; this.resumed === null; kind = this.fresh ? 'new' : 'restart') {
      await this.renew(kind).catch((error) => this.log(`${kind}: ${error}`));
      await until(() => this.resumed !== null, PATIENCE, '').catch(() => {});
    }
  }

  /** Fetches credentials for both ends and negotiates, on new connections or by an ICE restart on the old ones. */
  async renew(kind) {
    const configurations = await Promise.all(this.ends.map((end) => this.configuration(end)));
    if (this.resumed !== null) return;
    const [alice, bob] = this.ends;
    this.ends.forEach((end, i) => {
      if (kind === 'restart') end.pc.setConfiguration(configurations[i]);
      else end.connect(configurations[i], (state) => this.changed(state));
    });
    if (kind === 'restart') alice.pc.restartIce();
    else alice.use(alice.pc.createDataChannel('call', { ordered: false, maxRetransmits: 0 }));
    if (this.noticed !== null) this.how = kind === 'restart' ? 'by ICE restart' : 'by new connections';
    this.log(`negotiating: ${kind}`);
    await this.negotiate(alice.pc, bob.pc);
  }

  /** Offer and answer. Candidates wait until both descriptions are in place. */
  async negotiate(caller, callee) {
    let settle;
    const settled = new Promise((resolve) => (settle = resolve));
    for (const [from, to] of [[caller, callee], [callee, caller]]) {
      from.onicecandidate = async ({ candidate }) => {
        if (!candidate) return;
        this.log(candidate.candidate);
        await settled;
        await to.addIceCandidate(candidate).catch((error) => this.log(`candidate: ${error}`));
      };
    }
    await caller.setLocalDescription(await caller.createOffer());
    await callee.setRemoteDescription(caller.localDescription);
    await callee.setLocalDescription(await callee.createAnswer());
    await caller.setRemoteDescription(callee.localDescription);
    settle();
  }

  /** Asks the app's back end (here: the test) for credentials; `failed` names the relay that this end had. */
  async configuration(end) {
    const failed = end.relay && this.noticed !== null ? `&failed=${encodeURIComponent(end.relay)}` : '';
    const answer = await fetch(`/credentials?user=${end.user}${failed}`);
    if (!answer.ok) throw new Error(`credentials: ${answer.status} ${await answer.text()}`);
    const { iceServers, lanes } = await answer.json();
    // Every URL has a name of its own; what stands below the first label is its lane.
    const ends = this.lanes.map((lane) => lanes[lane].slice(lanes[lane].indexOf('.')));
    const servers = iceServers.map((server) => ({
      ...server,
      urls: [server.urls].flat().filter((url) => ends.some((end) => url.includes(end))),
    }));
    const used = servers.filter((server) => server.urls.length > 0);
    this.log(`${end.user}: ${used.flatMap((server) => server.urls).join(' ')}`);
    return { iceTransportPolicy: 'relay', iceServers: used };
  }
}

const sleep = (time) => new Promise((resolve) => setTimeout(resolve, time));

async function until(condition, time, otherwise) {
  const deadline = Date.now() + time;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(otherwise);
    await sleep(20);
  }
}

window.call = new Call();
