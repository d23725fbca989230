// A child process that is ended with the test, and lines of its output.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

export class Child {
  constructor(command, args, options = {}) {
    this.name = command.split('/').pop();
    this.output = [];
    this.process = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
    this.process.on('error', (error) => this.output.push(String(error)));
    for (const stream of [this.process.stdout, this.process.stderr]) {
      createInterface({ input: stream }).on('line', (line) => {
        this.output.push(line);
        if (this.output.length > 400) this.output.shift();
        if (stream === this.process.stdout) this.onLine?.(line);
      });
    }
  }

  get ended() {
    return this.process.pid === undefined || this.process.exitCode !== null || this.process.signalCode !== null;
  }

  /** SIGTERM, then SIGKILL after `patience` ms; returns when it is gone. */
  async stop(patience = 5000) {
    if (this.ended) return;
    const gone = once(this.process, 'exit');
    this.process.kill('SIGTERM');
    const timer = setTimeout(() => this.process.kill('SIGKILL'), patience);
    await gone;
    clearTimeout(timer);
  }
}

export const sleep = (time) => new Promise((resolve) => setTimeout(resolve, time));

/** Waits until `condition` holds; throws `otherwise` after `time` ms. */
export async function until(condition, time, otherwise) {
  const deadline = Date.now() + time;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > deadline) throw new Error(typeof otherwise === 'function' ? otherwise() : otherwise);
    await sleep(20);
  }
}
