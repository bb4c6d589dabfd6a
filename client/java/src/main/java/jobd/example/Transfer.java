package jobd.example;

import com.google.protobuf.ByteString;
import io.grpc.stub.BlockingClientCall;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.security.MessageDigest;
import java.util.HexFormat;
import jobapi.v1.ArtifactServiceGrpc;
import jobapi.v1.ArtifactServiceOuterClass.DownloadRequest;
import jobapi.v1.ArtifactServiceOuterClass.DownloadResponse;
import jobapi.v1.ArtifactServiceOuterClass.UploadRequest;
import jobapi.v1.ArtifactServiceOuterClass.UploadResponse;

/** Moves files to and from the daemon. */
final class Transfer {
    /** How much of a file travels in one message, in bytes. */
    private static final int PIECE = 256 << 10;

    private final ArtifactServiceGrpc.ArtifactServiceBlockingV2Stub artifacts;

    Transfer(ArtifactServiceGrpc.ArtifactServiceBlockingV2Stub artifacts) {
        this.artifacts = artifacts;
    }

    /** Sends a file and gives the id by which a Submit may use it, once. */
    String upload(Path path) throws Exception {
        MessageDigest digest = MessageDigest.getInstance("SHA-256");
        BlockingClientCall<UploadRequest, UploadResponse> call = artifacts.upload();
        try (InputStream file = Files.newInputStream(path)) {
            byte[] piece;
            do { // at least once: an empty file is a file as well
                piece = file.readNBytes(PIECE);
                digest.update(piece);
                // False says that the daemon has answered already; the read below tells what.
            } while (call.write(UploadRequest.newBuilder().setData(ByteString.copyFrom(piece)).build())
                    && piece.length == PIECE);
            call.halfClose();
            UploadResponse answer = call.read();
            check(digest, answer.getSha256(), path.toString());
            return answer.getUploadId();
        } finally {
            call.cancel("done with it", null);
        }
    }

    /** Fetches an artifact into a folder; under its name it is there only once its digest is right. */
    void download(String job, String name, Path folder) throws Exception {
        Path partial = Files.createTempFile(folder, ".download-", "");
        BlockingClientCall<?, DownloadResponse> call = artifacts.download(
                DownloadRequest.newBuilder().setJobId(job).setName(name).build());
        try {
            String sha256 = receive(call, partial, name);
            System.out.println("artifact " + name + " " + Files.size(partial) + " " + sha256);
            Files.move(partial, folder.resolve(name), StandardCopyOption.ATOMIC_MOVE);
        } finally {
            call.cancel("done with it", null);
            Files.deleteIfExists(partial);
        }
    }

    /** Writes what the stream brings and gives its digest, which its last message must confirm. */
    private static String receive(BlockingClientCall<?, DownloadResponse> call, Path to, String name) throws Exception {
        MessageDigest digest = MessageDigest.getInstance("SHA-256");
        String expected = "";
        try (OutputStream file = Files.newOutputStream(to)) {
            for (DownloadResponse message = call.read(); message != null; message = call.read()) {
                if (message.hasTrailer()) {
                    expected = message.getTrailer().getSha256();
                }
                digest.update(message.getData().asReadOnlyByteBuffer());
                message.getData().writeTo(file);
            }
        }
        return check(digest, expected, name);
    }

    private static String check(MessageDigest digest, String expected, String what) throws IOException {
        String actual = HexFormat.of().formatHex(digest.digest());
        if (!actual.equals(expected)) {
            throw new IOException(
                    what + " was damaged on the way: its SHA-256 is " + actual + " instead of " + expected);
        }
        return actual;
    }
}
