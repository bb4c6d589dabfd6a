import type { Daemon } from "./connection.js";
import { explain, Interrupted, isTransient } from "./errors.js";
import type { Event__Output as Event } from "./generated/jobapi/v1/Event.js";
import type { WatchResponse__Output as WatchResponse } from "./generated/jobapi/v1/WatchResponse.js";
import { Outage } from "./outage.js";

/** How long a stream may say nothing before it counts as dead: three heartbeats of 15 s. */
const SILENCE_MS = 45_000;

const TERMINAL = new Set(["SUCCEEDED", "FAILED", "CANCELLED"]);

/** The place in a job's history that a client has reached. */
export class Watch {
  /** How the job ended; undefined before that. */
  state: string | undefined;
  private sequence = 0;

  constructor(
    private readonly daemon: Daemon,
    private readonly job: string,
  ) {}

  /**
   * Goes on from where the watch is, until the job ends or an event is enough. Each event is told once, in order,
   * however often the stream breaks.
   */
  async follow(enough: (event: Event) => boolean = () => false): Promise<void> {
    let outage = new Outage();
    while (this.state === undefined) {
      const before = this.sequence;
      try {
        for await (const message of this.read()) {
          const event = this.take(message);
          if (this.state !== undefined || (event && enough(event))) return;
        }
        throw new Interrupted("the stream ended before the job had ended");
      } catch (error) {
        if (!isTransient(error)) throw error;
        if (this.sequence > before) outage = new Outage();
        console.error(`lost the stream after event ${this.sequence}, asking again: ${explain(error)}`);
        await outage.wait(error);
      }
    }
  }

  /** Reads one stream until it ends, breaks or falls silent. */
  private async *read(): AsyncGenerator<WatchResponse> {
    const stream = this.daemon.jobs.Watch({ id: this.job, after_sequence: this.sequence });
    const watchdog = setTimeout(() => stream.destroy(new Interrupted("no sign of life")), SILENCE_MS);
    try {
      for await (const message of stream) {
        watchdog.refresh();
        yield message as WatchResponse;
      }
    } finally {
      clearTimeout(watchdog);
      stream.cancel();
    }
  }

  /** Counts one message, and gives its event if it is a new one. A heartbeat only proves that the daemon lives. */
  private take({ snapshot, event }: WatchResponse): Event | undefined {
    // Who asks after the last event of an ended job gets no terminal event: there is nothing left to tell.
    if (snapshot && this.sequence >= snapshot.last_sequence) this.see(snapshot.state.replace("JOB_STATE_", ""));
    if (!event || event.sequence <= this.sequence) return undefined;
    if (event.sequence !== this.sequence + 1) {
      throw new Error(`event ${this.sequence + 1} did not arrive before event ${event.sequence}`);
    }
    this.sequence = event.sequence;
    const kind = event.kind ?? "unknown"; // unknown: newer than this client's protos
    console.log(`event ${this.job} ${this.sequence} ${kind}`);
    if (kind.startsWith("job_")) this.see(kind.replace("job_", "").toUpperCase());
    return event;
  }

  private see(state: string): void {
    if (!TERMINAL.has(state)) return;
    this.state = state;
    console.log(`state ${this.job} ${state}`);
  }
}
