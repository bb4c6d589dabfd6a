import { readFileSync } from "node:fs";

import * as grpc from "@grpc/grpc-js";
import * as protoLoader from "@grpc/proto-loader";

import type { ProtoGrpcType as ArtifactTypes } from "./generated/artifact_service.js";
import type { ArtifactServiceClient } from "./generated/jobapi/v1/ArtifactService.js";
import type { JobServiceClient } from "./generated/jobapi/v1/JobService.js";
import type { ProtoGrpcType as JobTypes } from "./generated/job_service.js";

/** The services of one daemon. The connection is made with the first call, and made anew whenever it is lost. */
export interface Daemon {
  jobs: JobServiceClient;
  artifacts: ArtifactServiceClient;
}

const options: grpc.ClientOptions = {
  "grpc.keepalive_time_ms": 30_000,
  "grpc.keepalive_timeout_ms": 10_000,
  "grpc.initial_reconnect_backoff_ms": 200,
  "grpc.max_reconnect_backoff_ms": 5_000,
  // A Job with thousands of entries is larger than gRPC's default of 4 MiB.
  "grpc.max_receive_message_length": 64 << 20,
};

/** Prepares the connection to a daemon; `protos` is the folder that holds `jobapi/`. */
export function connect(address: string, tokenFile: string, protos: string): Daemon {
  const definition = protoLoader.loadSync(["jobapi/v1/job_service.proto", "jobapi/v1/artifact_service.proto"], {
    includeDirs: [protos],
    keepCase: true,
    longs: Number, // sequences and sizes stay far below 2^53
    enums: String,
    oneofs: true,
    defaults: true,
  });
  const { jobapi } = grpc.loadPackageDefinition(definition) as unknown as JobTypes & ArtifactTypes;
  const token = readFileSync(tokenFile, "utf8").trim();
  const credentials = grpc.credentials.createInsecure();
  const own = { ...options, interceptors: [bearer(token)] };
  return {
    jobs: new jobapi.v1.JobService(address, credentials, own),
    artifacts: new jobapi.v1.ArtifactService(address, credentials, own),
  };
}

/** Sends the token with each call. */
function bearer(token: string): grpc.Interceptor {
  return (callOptions, next) =>
    new grpc.InterceptingCall(next(callOptions), {
      start(metadata, listener, start) {
        metadata.set("authorization", `Bearer ${token}`);
        start(metadata, listener);
      },
    });
}
