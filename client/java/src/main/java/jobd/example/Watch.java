package jobd.example;

import io.grpc.Status;
import io.grpc.StatusException;
import io.grpc.stub.BlockingClientCall;
import java.util.Locale;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import jobapi.v1.JobOuterClass.Event;
import jobapi.v1.JobOuterClass.Job;
import jobapi.v1.JobOuterClass.JobState;
import jobapi.v1.JobServiceGrpc;
import jobapi.v1.JobServiceOuterClass.WatchRequest;
import jobapi.v1.JobServiceOuterClass.WatchResponse;

/** Follows jobs through any interruption. */
final class Watch {
    /** How many seconds a stream may say nothing before it counts as dead: three heartbeats of 15 s. */
    private static final long SILENCE = 45;

    private final JobServiceGrpc.JobServiceBlockingV2Stub jobs;

    Watch(JobServiceGrpc.JobServiceBlockingV2Stub jobs) {
        this.jobs = jobs;
    }

    /** Takes the events of a job. */
    interface Taker {
        void take(Event event) throws Exception;
    }

    /**
     * Follows a job to its end and gives the state it ended in. Each event is passed on once, in order, however often
     * the stream breaks.
     */
    JobState follow(String job, Taker taker) throws Exception {
        Reader reader = new Reader(job, taker);
        Outage outage = new Outage();
        while (true) {
            long before = reader.sequence;
            try {
                reader.read();
                System.out.println("state " + job + " " + reader.ended.name().replace("JOB_STATE_", ""));
                return reader.ended;
            } catch (StatusException error) {
                Problem problem = Problem.of(error);
                if (!problem.isTransient()) {
                    throw error;
                }
                if (reader.sequence > before) {
                    outage = new Outage();
                }
                System.err.println(
                        "lost the stream after event " + reader.sequence + ", asking again: " + problem.text());
                outage.await(error);
            }
        }
    }

    /** The place in a job's history that a watch has reached. */
    private final class Reader {
        private final String job;
        private final Taker taker;
        private long sequence;
        private JobState ended;

        Reader(String job, Taker taker) {
            this.job = job;
            this.taker = taker;
        }

        /** Reads one stream to the job's end; throws when it ends before that. */
        void read() throws Exception {
            BlockingClientCall<?, WatchResponse> stream = jobs.watch(
                    WatchRequest.newBuilder().setId(job).setAfterSequence(sequence).build());
            try {
                while (ended == null) {
                    WatchResponse message = stream.read(SILENCE, TimeUnit.SECONDS);
                    if (message == null) {
                        throw interrupted("the stream ended before the job had ended");
                    }
                    handle(message);
                }
            } catch (TimeoutException error) {
                throw interrupted("the daemon gave no sign of life");
            } finally {
                stream.cancel("done with it", null);
            }
        }

        /** Takes one message of the stream; a heartbeat only proves that the daemon lives. */
        private void handle(WatchResponse message) throws Exception {
            if (message.hasSnapshot()) {
                Job snapshot = message.getSnapshot();
                // Who asks after the last event of an ended job gets no terminal event: there is nothing left to tell.
                if (isTerminal(snapshot.getState()) && sequence >= snapshot.getLastSequence()) {
                    ended = snapshot.getState();
                }
            } else if (message.hasEvent() && message.getEvent().getSequence() > sequence) {
                handle(message.getEvent());
            }
        }

        private void handle(Event event) throws Exception {
            if (event.getSequence() != sequence + 1) {
                throw new IllegalStateException(
                        "event " + (sequence + 1) + " did not arrive before event " + event.getSequence());
            }
            sequence = event.getSequence();
            // KIND_NOT_SET stands for a kind that is newer than these stubs.
            System.out.println(
                    "event " + job + " " + sequence + " " + event.getKindCase().name().toLowerCase(Locale.ROOT));
            switch (event.getKindCase()) {
                case JOB_SUCCEEDED -> ended = JobState.JOB_STATE_SUCCEEDED;
                case JOB_FAILED -> ended = JobState.JOB_STATE_FAILED;
                case JOB_CANCELLED -> ended = JobState.JOB_STATE_CANCELLED;
                default -> {}
            }
            taker.take(event);
        }
    }

    private static boolean isTerminal(JobState state) {
        return state == JobState.JOB_STATE_SUCCEEDED
                || state == JobState.JOB_STATE_FAILED
                || state == JobState.JOB_STATE_CANCELLED;
    }

    private static StatusException interrupted(String what) {
        return Status.UNAVAILABLE.withDescription(what).asException();
    }
}
