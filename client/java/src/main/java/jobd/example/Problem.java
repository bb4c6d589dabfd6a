package jobd.example;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.ErrorInfo;
import io.grpc.Status;
import io.grpc.StatusException;
import io.grpc.protobuf.StatusProto;

/** What went wrong with a call; `reason` is the daemon's word for it, and empty where it did not speak itself. */
record Problem(Status status, String reason, String hint) {
    /** Reads an error. */
    static Problem of(StatusException error) {
        com.google.rpc.Status details = StatusProto.fromThrowable(error);
        if (details != null) {
            for (Any detail : details.getDetailsList()) {
                if (detail.is(ErrorInfo.class)) {
                    ErrorInfo info = unpack(detail);
                    if (info.getDomain().equals("jobd")) {
                        return new Problem(error.getStatus(), info.getReason(), info.getMetadataOrDefault("hint", ""));
                    }
                }
            }
        }
        return new Problem(error.getStatus(), "", "");
    }

    /**
     * Tells whether the same call may succeed a little later: the daemon is away or on its way out, or the transport
     * broke. What the daemon itself refuses always carries a reason.
     */
    boolean isTransient() {
        return switch (status.getCode()) {
            case UNAVAILABLE, DEADLINE_EXCEEDED -> true;
            case CANCELLED, RESOURCE_EXHAUSTED, INTERNAL, UNKNOWN -> reason.isEmpty();
            default -> false;
        };
    }

    /** Gives a line for people: the reason, what happened, and how to go on. */
    String text() {
        if (reason.isEmpty()) {
            return status.getCode() + ": " + status.getDescription();
        }
        return reason + ": " + status.getDescription() + (hint.isEmpty() ? "" : " (" + hint + ")");
    }

    private static ErrorInfo unpack(Any detail) {
        try {
            return detail.unpack(ErrorInfo.class);
        } catch (InvalidProtocolBufferException error) {
            throw new IllegalArgumentException("the daemon's error cannot be read", error);
        }
    }
}
