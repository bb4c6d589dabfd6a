import { setTimeout as sleep } from "node:timers/promises";

import type { ServiceError } from "@grpc/grpc-js";

import { isTransient } from "./errors.js";

/** The time since the daemon last made progress with a call. */
export class Outage {
  private deadline = Date.now() + 60_000;
  private delay = 100;

  /** Pauses before the next try, each time for longer; throws the error when the daemon stayed away for a minute. */
  async wait(error: unknown): Promise<void> {
    if (Date.now() > this.deadline) throw error;
    // Jitter, because a restarted daemon would otherwise meet all of its watchers at once.
    await sleep(this.delay * (0.5 + Math.random() / 2));
    this.delay = Math.min(this.delay * 2, 5_000);
  }
}

type Callback<T> = (error: ServiceError | null, answer?: T) => void;

/** Makes a call that is safe to repeat until it answers, or the daemon stays away for too long. */
export async function retry<T>(call: (deadline: Date, done: Callback<T>) => unknown): Promise<T> {
  const outage = new Outage();
  for (;;) {
    try {
      return await new Promise<T>((resolve, reject) => {
        call(new Date(Date.now() + 10_000), (error, answer) => (error ? reject(error) : resolve(answer as T)));
      });
    } catch (error) {
      if (!isTransient(error)) throw error;
      await outage.wait(error);
    }
  }
}
