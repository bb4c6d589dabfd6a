import type { Daemon } from "./connection.js";
import { explain, Interrupted, isTransient } from "./errors.js";
import type { Event__Output as Event } from "./generated/jobapi/v1/Event.js";
import type { WatchResponse__Output as WatchResponse } from "./generated/jobapi/v1/WatchResponse.js";
import { Outage } from "./outage.js";

/** How long a stream may say nothing before it counts as dead: three heartbeats of 15 s. */
const SILENCE_MS = 45_000;

const TERMINAL = new Set(["SUCCEEDED", "FAILED", "CANCELLED"]);

/**
 * Follows a job to its end and gives the state it ended in. Each event is passed on once, in order, however often
 * the stream breaks.
 */
export async function watch(daemon: Daemon, job: string, take: (event: Event) => Promise<void>): Promise<string> {
  let sequence = 0;
  let outage = new Outage();
  for (;;) {
    const before = sequence;
    try {
      for await (const message of read(daemon, job, sequence)) {
        const { snapshot, event } = message;
        // Who asks after the last event of an ended job gets no terminal event: there is nothing left to tell.
        if (snapshot && sequence >= snapshot.last_sequence) {
          const state = snapshot.state.replace("JOB_STATE_", "");
          if (TERMINAL.has(state)) return ended(job, state);
        }
        if (!event || event.sequence <= sequence) continue; // a heartbeat only proves that the daemon lives
        if (event.sequence !== sequence + 1) {
          throw new Error(`event ${sequence + 1} did not arrive before event ${event.sequence}`);
        }
        sequence = event.sequence;
        const kind = event.kind ?? "unknown"; // unknown: newer than this client's protos
        console.log(`event ${job} ${sequence} ${kind}`);
        await take(event);
        const state = kind.replace("job_", "").toUpperCase();
        if (kind.startsWith("job_") && TERMINAL.has(state)) return ended(job, state);
      }
      throw new Interrupted("the stream ended before the job had ended");
    } catch (error) {
      if (!isTransient(error)) throw error;
      if (sequence > before) outage = new Outage();
      console.error(`lost the stream after event ${sequence}, asking again: ${explain(error)}`);
      await outage.wait(error);
    }
  }
}

function ended(job: string, state: string): string {
  console.log(`state ${job} ${state}`);
  return state;
}

/** Reads one stream until it ends, breaks or falls silent. */
async function* read(daemon: Daemon, job: string, sequence: number): AsyncGenerator<WatchResponse> {
  const stream = daemon.jobs.Watch({ id: job, after_sequence: sequence });
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
