package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"

	pb "jobd/client/go/jobapi/v1"
)

// pieceSize is how much of a file travels in one message.
const pieceSize = 256 << 10

// upload sends a file and gives the id by which a Submit may use it, once.
func (c *client) upload(ctx context.Context, path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.artifacts.Upload(ctx)
	if err != nil {
		return "", err
	}
	digest := sha256.New()
	if err := send(stream, io.TeeReader(file, digest)); err != nil {
		return "", err
	}
	answer, err := stream.CloseAndRecv()
	if err != nil {
		return "", err
	}
	return answer.GetUploadId(), check(digest, answer.GetSha256(), path)
}

// send sends all of a reader, at least one message.
func send(stream pb.ArtifactService_UploadClient, reader io.Reader) error {
	for first := true; ; first = false {
		piece := make([]byte, pieceSize)
		size, err := io.ReadFull(reader, piece)
		if size > 0 || first {
			// EOF says that the daemon has answered already; CloseAndRecv tells what.
			if err := stream.Send(&pb.UploadRequest{Data: piece[:size]}); err != nil && !errors.Is(err, io.EOF) {
				return err
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// download fetches an artifact into a folder; under its name it is there only once its digest is right.
func (c *client) download(ctx context.Context, job, name, folder string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.artifacts.Download(ctx, &pb.DownloadRequest{JobId: job, Name: name})
	if err != nil {
		return err
	}
	file, err := os.CreateTemp(folder, ".download-*")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name()) // of no effect once it has its own name
	defer file.Close()
	digest := sha256.New()
	size, err := receive(stream, io.MultiWriter(file, digest), digest, name)
	if err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	if err := os.Rename(file.Name(), filepath.Join(folder, name)); err != nil {
		return err
	}
	fmt.Println("artifact", name, size, hex.EncodeToString(digest.Sum(nil)))
	return nil
}

// receive writes what the stream brings, and checks that its last message is there and has the right digest.
func receive(stream pb.ArtifactService_DownloadClient, to io.Writer, digest hash.Hash, name string) (int64, error) {
	var size int64
	whole := false
	for {
		message, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF) && whole:
			return size, nil
		case errors.Is(err, io.EOF):
			return 0, fmt.Errorf("the download of %s ended before it was whole", name)
		case err != nil:
			return 0, err
		}
		switch part := message.GetMessage().(type) {
		case *pb.DownloadResponse_Data:
			written, err := to.Write(part.Data)
			if err != nil {
				return 0, err
			}
			size += int64(written)
		case *pb.DownloadResponse_Trailer:
			if err := check(digest, part.Trailer.GetSha256(), name); err != nil {
				return 0, err
			}
			whole = true
		}
	}
}

func check(digest hash.Hash, expected, what string) error {
	if actual := hex.EncodeToString(digest.Sum(nil)); actual != expected {
		return fmt.Errorf("%s was damaged on the way: its SHA-256 is %s instead of %s", what, actual, expected)
	}
	return nil
}
