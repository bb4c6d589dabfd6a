// Command example shows a Go service's way through jobd's API: it submits a job, follows it to its end, fetches a
// result and checks its digest, then cancels a second job. It goes on where it was when the daemon restarts.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	pb "jobd/client/go/jobapi/v1"
)

const usage = "usage: example HOST:PORT TOKEN_FILE JOB.yaml PARAM=PATH ARTIFACT FOLDER"

func main() {
	log.SetFlags(0)
	if len(os.Args) != 7 {
		log.Fatal(usage)
	}
	param, path, found := strings.Cut(os.Args[4], "=")
	if !found {
		log.Fatal(usage)
	}
	client, err := dial(os.Args[1], os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	defer client.connection.Close()
	if err := client.run(context.Background(), os.Args[3], param, path, os.Args[5], os.Args[6]); err != nil {
		client.connection.Close()
		log.Fatal(explain(err))
	}
}

var reconnection = backoff.Config{
	BaseDelay: 200 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 5 * time.Second,
}

// client holds the services of one daemon.
type client struct {
	connection *grpc.ClientConn
	jobs       pb.JobServiceClient
	artifacts  pb.ArtifactServiceClient
}

// dial prepares a connection; it is made with the first call, and made anew whenever it is lost.
func dial(address, tokenFile string) (*client, error) {
	secret, err := os.ReadFile(tokenFile)
	if err != nil {
		return nil, err
	}
	connection, err := grpc.NewClient(address,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithPerRPCCredentials(bearer(strings.TrimSpace(string(secret)))),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
		// By default gRPC comes to wait two minutes before it looks again for a daemon that was away.
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: reconnection, MinConnectTimeout: 5 * time.Second}),
		// A Job with thousands of entries is larger than gRPC's default of 4 MiB.
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)),
	)
	if err != nil {
		return nil, err
	}
	return &client{connection, pb.NewJobServiceClient(connection), pb.NewArtifactServiceClient(connection)}, nil
}

// bearer sends a token with each call.
type bearer string

func (token bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(token)}, nil
}

// RequireTransportSecurity permits plain connections: jobd has no TLS yet, and listens on loopback.
func (bearer) RequireTransportSecurity() bool { return false }

// run is what the example shows.
func (c *client) run(ctx context.Context, jobFile, param, path, artifact, folder string) error {
	job, err := c.submit(ctx, jobFile, param, path)
	if err != nil {
		return err
	}
	watch := &watch{jobs: c.jobs, job: job}
	if err := watch.follow(ctx, toTheEnd); err != nil {
		return err
	}
	if watch.state != pb.JobState_JOB_STATE_SUCCEEDED {
		return fmt.Errorf("job %s ended as %s", job, watch.state)
	}
	if err := c.download(ctx, job, artifact, folder); err != nil {
		return err
	}
	return c.cancelAnother(ctx, jobFile, param, path)
}

// cancelAnother submits the job again and cancels it as soon as one of its modules runs.
func (c *client) cancelAnother(ctx context.Context, jobFile, param, path string) error {
	job, err := c.submit(ctx, jobFile, param, path)
	if err != nil {
		return err
	}
	watch := &watch{jobs: c.jobs, job: job}
	started := func(event *pb.Event) bool { return event.GetEntryStarted() != nil }
	if err := watch.follow(ctx, started); err != nil {
		return err
	}
	err = retry(ctx, func(ctx context.Context) error {
		_, err := c.jobs.Cancel(ctx, &pb.CancelRequest{Id: job, Reason: "the Go example shows how"})
		return err
	})
	if err != nil {
		return err
	}
	return watch.follow(ctx, toTheEnd)
}

// submit uploads the input and submits the job; gives the job's id.
func (c *client) submit(ctx context.Context, jobFile, param, path string) (string, error) {
	document, err := os.ReadFile(jobFile)
	if err != nil {
		return "", err
	}
	upload, err := c.upload(ctx, path)
	if err != nil {
		return "", err
	}
	request := &pb.SubmitRequest{
		JobYaml:   document,
		RequestId: newRequestID(), // the same in every try, so that no try makes a second job
		Inputs:    []*pb.JobInput{{ParamName: param, Source: &pb.JobInput_UploadId{UploadId: upload}}},
	}
	var answer *pb.SubmitResponse
	err = retry(ctx, func(ctx context.Context) (err error) {
		answer, err = c.jobs.Submit(ctx, request)
		return err
	})
	if err != nil {
		return "", err
	}
	fmt.Println("job", answer.GetJob().GetId())
	return answer.GetJob().GetId(), nil
}
