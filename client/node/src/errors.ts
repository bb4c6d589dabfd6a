import { fileURLToPath } from "node:url";

import { type ServiceError, status } from "@grpc/grpc-js";
import protobuf from "protobufjs";

const root = protobuf.loadSync(fileURLToPath(new URL("../protos/google_rpc.proto", import.meta.url)));
const Status = root.lookupType("google.rpc.Status");
const ErrorInfo = root.lookupType("google.rpc.ErrorInfo");

/** What the daemon says for programs. */
interface Reason {
  reason: string;
  domain: string;
  metadata: Record<string, string>;
}

/** A google.rpc.Status, as far as it is read. */
interface Details {
  details: { type_url: string; value: Uint8Array }[];
}

/** The daemon said nothing for too long, or ended a stream too early. */
export class Interrupted extends Error {}

/** Tells whether an error is gRPC's. */
export function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && "code" in error && "metadata" in error;
}

/** Gives the daemon's reason; undefined where the error is not one of its own. */
export function reasonOf(error: ServiceError): Reason | undefined {
  for (const header of error.metadata.get("grpc-status-details-bin")) {
    const { details } = Status.decode(header as Buffer) as unknown as Details;
    for (const detail of details) {
      if (!detail.type_url.endsWith("/google.rpc.ErrorInfo")) continue;
      const info = ErrorInfo.decode(detail.value) as unknown as Reason;
      if (info.domain === "jobd") return info;
    }
  }
  return undefined;
}

/**
 * Tells whether the same call may succeed a little later: the daemon is away or on its way out, or the transport
 * broke. What the daemon itself refuses always carries a reason.
 */
export function isTransient(error: unknown): boolean {
  if (error instanceof Interrupted) return true;
  if (!isServiceError(error)) return false;
  switch (error.code) {
    case status.UNAVAILABLE:
    case status.DEADLINE_EXCEEDED:
      return true;
    case status.CANCELLED:
    case status.RESOURCE_EXHAUSTED:
    case status.INTERNAL:
    case status.UNKNOWN:
      return reasonOf(error) === undefined;
    default:
      return false;
  }
}

/** Gives an error as a line for people: its reason, what happened, and how to go on. */
export function explain(error: unknown): string {
  const info = isServiceError(error) ? reasonOf(error) : undefined;
  if (!isServiceError(error) || !info) return error instanceof Error ? error.message : String(error);
  const hint = info.metadata["hint"];
  return `${info.reason}: ${error.details}${hint ? ` (${hint})` : ""}`;
}
