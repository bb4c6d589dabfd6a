package jobd.example;

import com.google.protobuf.ByteString;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.StatusException;
import io.grpc.netty.shaded.io.grpc.netty.NettyChannelBuilder;
import io.grpc.stub.MetadataUtils;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.UUID;
import java.util.concurrent.TimeUnit;
import jobapi.v1.ArtifactServiceGrpc;
import jobapi.v1.JobOuterClass.Event;
import jobapi.v1.JobOuterClass.JobState;
import jobapi.v1.JobServiceGrpc;
import jobapi.v1.JobServiceOuterClass.CancelRequest;
import jobapi.v1.JobServiceOuterClass.JobInput;
import jobapi.v1.JobServiceOuterClass.SubmitRequest;

/**
 * A Java service's way through jobd's API: it submits a job, follows it to its end, fetches a result and checks its
 * digest, then cancels a second job. It goes on where it was when the daemon restarts.
 */
public final class Main {
    private static final String USAGE =
            "usage: java -jar example.jar HOST:PORT TOKEN_FILE JOB.yaml PARAM=PATH ARTIFACT FOLDER";
    private static final Metadata.Key<String> AUTHORIZATION =
            Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);
    /** A Job with thousands of entries is larger than gRPC's default of 4 MiB. */
    private static final int LARGEST_MESSAGE = 64 << 20;

    private final ManagedChannel channel;
    private final JobServiceGrpc.JobServiceBlockingV2Stub jobs;
    private final Transfer transfer;

    private Main(ManagedChannel channel) {
        this.channel = channel;
        jobs = JobServiceGrpc.newBlockingV2Stub(channel);
        transfer = new Transfer(ArtifactServiceGrpc.newBlockingV2Stub(channel));
    }

    /** Runs the example; the exit code is 1 when it fails. */
    public static void main(String[] words) throws Exception {
        if (words.length != 6 || !words[3].contains("=")) {
            System.err.println(USAGE);
            System.exit(2);
        }
        ManagedChannel channel = connect(words[0], Path.of(words[1]));
        try {
            String[] input = words[3].split("=", 2);
            new Main(channel).run(Path.of(words[2]), input[0], Path.of(input[1]), words[4], Path.of(words[5]));
        } catch (StatusException error) {
            System.err.println(Problem.of(error).text());
            System.exit(1);
        } finally {
            channel.shutdownNow().awaitTermination(5, TimeUnit.SECONDS);
        }
    }

    /** Prepares a connection; it is made with the first call, and made anew whenever it is lost. */
    private static ManagedChannel connect(String address, Path tokenFile) throws Exception {
        Metadata headers = new Metadata();
        headers.put(AUTHORIZATION, "Bearer " + Files.readString(tokenFile).strip());
        return NettyChannelBuilder.forTarget(address)
                .usePlaintext() // jobd has no TLS yet, and listens on loopback
                .intercept(MetadataUtils.newAttachHeadersInterceptor(headers))
                .maxInboundMessageSize(LARGEST_MESSAGE)
                .keepAliveTime(30, TimeUnit.SECONDS)
                .keepAliveTimeout(10, TimeUnit.SECONDS)
                .build();
    }

    private void run(Path jobFile, String param, Path input, String artifact, Path folder) throws Exception {
        String first = submit(jobFile, param, input);
        Watch watch = new Watch(channel, jobs, first);
        watch.follow(event -> false);
        if (watch.state() != JobState.JOB_STATE_SUCCEEDED) {
            throw new IllegalStateException("job " + first + " ended as " + watch.state());
        }
        transfer.download(first, artifact, folder);

        String second = submit(jobFile, param, input);
        Watch cancelled = new Watch(channel, jobs, second);
        cancelled.follow(Event::hasEntryStarted);
        cancel(second);
        cancelled.follow(event -> false);
    }

    /** Uploads the input and submits the job; gives the job's id. */
    private String submit(Path jobFile, String param, Path input) throws Exception {
        SubmitRequest request = SubmitRequest.newBuilder()
                .setJobYaml(ByteString.copyFrom(Files.readAllBytes(jobFile)))
                .addInputs(JobInput.newBuilder().setParamName(param).setUploadId(transfer.upload(input)))
                .setRequestId(UUID.randomUUID().toString()) // the same in every try, so that none makes a second job
                .build();
        String id = Outage.retry(channel, () -> jobs.withDeadlineAfter(10, TimeUnit.SECONDS).submit(request))
                .getJob()
                .getId();
        System.out.println("job " + id);
        return id;
    }

    private void cancel(String job) throws Exception {
        CancelRequest request =
                CancelRequest.newBuilder().setId(job).setReason("the Java example shows how").build();
        Outage.retry(channel, () -> jobs.withDeadlineAfter(10, TimeUnit.SECONDS).cancel(request));
    }
}
