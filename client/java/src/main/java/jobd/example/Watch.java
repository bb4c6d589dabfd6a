package jobd.example;

import io.grpc.ManagedChannel;
import io.grpc.Status;
import io.grpc.StatusException;
import io.grpc.stub.BlockingClientCall;
import java.util.Locale;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.Predicate;
import jobapi.v1.JobOuterClass.Event;
import jobapi.v1.JobOuterClass.Job;
import jobapi.v1.JobOuterClass.JobState;
import jobapi.v1.JobServiceGrpc;
import jobapi.v1.JobServiceOuterClass.WatchRequest;
import jobapi.v1.JobServiceOuterClass.WatchResponse;

/** The place in a job's history that a client has reached. */
final class Watch {
    /** How many seconds a stream may say nothing before it counts as dead: three heartbeats of 15 s. */
    private static final long SILENCE = 45;

    private final ManagedChannel channel;
    private final JobServiceGrpc.JobServiceBlockingV2Stub jobs;
    private final String job;
    private long sequence;
    private JobState state = JobState.JOB_STATE_UNSPECIFIED;

    Watch(ManagedChannel channel, JobServiceGrpc.JobServiceBlockingV2Stub jobs, String job) {
        this.channel = channel;
        this.jobs = jobs;
        this.job = job;
    }

    /** Gives the state that the job ended in; unspecified before that. */
    JobState state() {
        return state;
    }

    /**
     * Goes on from where the watch is, until the job ends or an event is enough. Each event is told once, in order,
     * however often the stream breaks.
     */
    void follow(Predicate<Event> enough) throws StatusException, InterruptedException {
        Outage outage = new Outage(channel);
        while (!isTerminal(state)) {
            long before = sequence;
            try {
                read(enough);
                return;
            } catch (StatusException error) {
                Problem problem = Problem.of(error);
                if (!problem.isTransient()) {
                    throw error;
                }
                if (sequence > before) {
                    outage = new Outage(channel);
                }
                System.err.println("lost the stream after event " + sequence + ", asking again: " + problem.text());
                outage.await(error);
            }
        }
    }

    /** Reads one stream as far as it should come; throws when it is cut short. */
    private void read(Predicate<Event> enough) throws StatusException, InterruptedException {
        BlockingClientCall<?, WatchResponse> stream = jobs.watch(
                WatchRequest.newBuilder().setId(job).setAfterSequence(sequence).build());
        try {
            WatchResponse message;
            do {
                message = stream.read(SILENCE, TimeUnit.SECONDS);
                if (message == null) {
                    throw interrupted("the stream ended before the job had ended");
                }
            } while (!(take(message) && enough.test(message.getEvent())) && !isTerminal(state));
        } catch (TimeoutException error) {
            throw interrupted("the daemon gave no sign of life");
        } finally {
            stream.cancel("done with it", null);
        }
    }

    /** Counts one message; tells whether it holds a new event. A heartbeat only proves that the daemon lives. */
    private boolean take(WatchResponse message) {
        Job snapshot = message.getSnapshot();
        if (isTerminal(snapshot.getState()) && sequence >= snapshot.getLastSequence()) {
            // Who asks after the last event of an ended job gets no terminal event: there is nothing left to tell.
            end(snapshot.getState());
        }
        Event event = message.getEvent();
        if (event.getSequence() <= sequence) {
            return false;
        }
        if (event.getSequence() != sequence + 1) {
            throw new IllegalStateException(
                    "event " + (sequence + 1) + " did not arrive before event " + event.getSequence());
        }
        sequence = event.getSequence();
        // kind_not_set stands for a kind that is newer than these stubs.
        String kind = event.getKindCase().name().toLowerCase(Locale.ROOT);
        System.out.println("event " + job + " " + sequence + " " + kind);
        switch (event.getKindCase()) {
            case JOB_SUCCEEDED -> end(JobState.JOB_STATE_SUCCEEDED);
            case JOB_FAILED -> end(JobState.JOB_STATE_FAILED);
            case JOB_CANCELLED -> end(JobState.JOB_STATE_CANCELLED);
            default -> {}
        }
        return true;
    }

    private void end(JobState terminal) {
        state = terminal;
        System.out.println("state " + job + " " + terminal.name().replace("JOB_STATE_", ""));
    }

    private static boolean isTerminal(JobState state) {
        return switch (state) {
            case JOB_STATE_SUCCEEDED, JOB_STATE_FAILED, JOB_STATE_CANCELLED -> true;
            default -> false;
        };
    }

    private static StatusException interrupted(String what) {
        return Status.UNAVAILABLE.withDescription(what).asException();
    }
}
