import { createHash, type Hash } from "node:crypto";
import { once } from "node:events";
import { createReadStream, createWriteStream } from "node:fs";
import { rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";

import type { ClientWritableStream } from "@grpc/grpc-js";

import type { Daemon } from "./connection.js";
import type { DownloadResponse__Output as DownloadResponse } from "./generated/jobapi/v1/DownloadResponse.js";
import type { UploadRequest } from "./generated/jobapi/v1/UploadRequest.js";
import type { UploadResponse__Output as UploadResponse } from "./generated/jobapi/v1/UploadResponse.js";

/** How much of a file travels in one message. */
const PIECE = 256 << 10;

/** Sends a file and gives the id by which a Submit may use it, once. */
export async function upload(daemon: Daemon, path: string): Promise<string> {
  const digest = createHash("sha256");
  const answer = await new Promise<UploadResponse>((resolve, reject) => {
    const stream = daemon.artifacts.Upload((error, response) => (error ? reject(error) : resolve(response!)));
    send(path, digest, stream).catch((error: unknown) => {
      stream.cancel();
      reject(error);
    });
  });
  check(digest, answer.sha256, path);
  return answer.upload_id;
}

/** Sends all of a file, at least one message; waits when the daemon is slower than the disk. */
async function send(path: string, digest: Hash, stream: ClientWritableStream<UploadRequest>): Promise<void> {
  stream.write({ data: Buffer.alloc(0) }); // an empty file is a file as well
  for await (const data of createReadStream(path, { highWaterMark: PIECE })) {
    digest.update(data);
    if (!stream.write({ data })) await once(stream, "drain");
  }
  stream.end();
}

/** Fetches an artifact into a folder; under its name it is there only once its digest is right. */
export async function download(daemon: Daemon, job: string, name: string, folder: string): Promise<void> {
  const partial = join(folder, `.${name}.${process.pid}`);
  const digest = createHash("sha256");
  let size = 0;
  let expected = "";
  const stream = daemon.artifacts.Download({ job_id: job, name });
  const pieces = async function* () {
    for await (const message of stream as AsyncIterable<DownloadResponse>) {
      if (message.trailer) expected = message.trailer.sha256;
      if (!message.data) continue;
      digest.update(message.data);
      size += message.data.length;
      yield message.data;
    }
  };
  try {
    await pipeline(pieces, createWriteStream(partial, { flags: "wx" }));
    const actual = check(digest, expected, name);
    await rename(partial, join(folder, name));
    console.log(`artifact ${name} ${size} ${actual}`);
  } finally {
    stream.cancel();
    await rm(partial, { force: true });
  }
}

function check(digest: Hash, expected: string, what: string): string {
  const actual = digest.digest("hex");
  if (actual !== expected) {
    throw new Error(`${what} was damaged on the way: its SHA-256 is ${actual} instead of ${expected || "any"}`);
  }
  return actual;
}
