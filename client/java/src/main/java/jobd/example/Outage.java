package jobd.example;

import io.grpc.ManagedChannel;
import io.grpc.StatusException;
import java.time.Duration;
import java.time.Instant;
import java.util.concurrent.ThreadLocalRandom;

/** The time since the daemon last made progress with a call. */
final class Outage {
    private static final long LONGEST_PAUSE = 5_000;

    private final ManagedChannel channel;
    private final Instant deadline = Instant.now().plus(Duration.ofMinutes(1));
    private long pause = 100;

    Outage(ManagedChannel channel) {
        this.channel = channel;
    }

    /** A call that is safe to repeat. */
    interface Call<T> {
        T make() throws StatusException, InterruptedException;
    }

    /** Makes a call until it answers, or the daemon stays away for too long. */
    static <T> T retry(ManagedChannel channel, Call<T> call) throws StatusException, InterruptedException {
        Outage outage = new Outage(channel);
        while (true) {
            try {
                return call.make();
            } catch (StatusException error) {
                if (!Problem.of(error).isTransient()) {
                    throw error;
                }
                outage.await(error);
            }
        }
    }

    /** Pauses before the next try, each time for longer; throws the error when the daemon stayed away for a minute. */
    void await(StatusException error) throws StatusException, InterruptedException {
        if (Instant.now().isAfter(deadline)) {
            throw error;
        }
        // Jitter, because a restarted daemon would otherwise meet all of its watchers at once.
        Thread.sleep(pause / 2 + ThreadLocalRandom.current().nextLong(pause / 2));
        pause = Math.min(2 * pause, LONGEST_PAUSE);
        // Else gRPC comes to wait two minutes before it looks again for a daemon that was away.
        channel.resetConnectBackoff();
    }
}
