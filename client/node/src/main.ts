/**
 * A service's way through jobd's API: it submits a job, follows it to its end, fetches a result and checks its
 * digest, then cancels a second job. It goes on where it was when the daemon restarts.
 */
import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

import { connect, type Daemon } from "./connection.js";
import { explain } from "./errors.js";
import type { CancelResponse__Output as CancelResponse } from "./generated/jobapi/v1/CancelResponse.js";
import type { SubmitResponse__Output as SubmitResponse } from "./generated/jobapi/v1/SubmitResponse.js";
import { retry } from "./outage.js";
import { download, upload } from "./transfer.js";
import { Watch } from "./watch.js";

const USAGE = "usage: node dist/main.js HOST:PORT TOKEN_FILE JOB.yaml PARAM=PATH ARTIFACT FOLDER";
const PROTOS = process.env["PROTOS"] ?? fileURLToPath(new URL("../../../protos", import.meta.url));

async function main(words: string[]): Promise<void> {
  const [address, tokenFile, jobFile, input, artifact, folder] = words;
  const [param, path] = input?.split(/=(.*)/s) ?? [];
  if (!address || !tokenFile || !jobFile || !param || !path || !artifact || !folder) throw new Error(USAGE);
  const daemon = connect(address, tokenFile, PROTOS);

  const first = await submit(daemon, jobFile, param, path);
  const watch = new Watch(daemon, first);
  await watch.follow();
  if (watch.state !== "SUCCEEDED") throw new Error(`job ${first} ended as ${watch.state}`);
  await download(daemon, first, artifact, folder);

  const second = await submit(daemon, jobFile, param, path);
  const cancelled = new Watch(daemon, second);
  await cancelled.follow((event) => event.kind === "entry_started");
  await retry<CancelResponse>((deadline, done) =>
    daemon.jobs.Cancel({ id: second, reason: "the Node example shows how" }, { deadline }, done),
  );
  await cancelled.follow();
}

/** Uploads the input and submits the job; gives the job's id. */
async function submit(daemon: Daemon, jobFile: string, param_name: string, path: string): Promise<string> {
  const request = {
    job_yaml: await readFile(jobFile),
    inputs: [{ param_name, upload_id: await upload(daemon, path) }],
    request_id: randomUUID(), // the same in every try, so that no try makes a second job
  };
  const answer = await retry<SubmitResponse>((deadline, done) => daemon.jobs.Submit(request, { deadline }, done));
  const id = answer.job!.id;
  console.log(`job ${id}`);
  return id;
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  console.error(explain(error));
  process.exitCode = 1;
}
process.exit(); // open connections would keep the process alive
