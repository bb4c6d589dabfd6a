package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"strings"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"

	pb "jobd/client/go/jobapi/v1"
)

// silence is how long a stream may say nothing before it counts as dead: three heartbeats of 15 s.
const silence = 45 * time.Second

// watch follows a job to its end and gives the state it ended in. Each event is passed on once, in order, however
// often the stream breaks; an error of take ends the watch.
func (c *client) watch(ctx context.Context, job string, take func(*pb.Event) error) (pb.JobState, error) {
	follower := follower{client: c, job: job, take: take}
	outage := newOutage()
	for {
		before := follower.sequence
		err := follower.read(ctx)
		if follower.ended != pb.JobState_JOB_STATE_UNSPECIFIED {
			fmt.Println("state", job, strings.TrimPrefix(follower.ended.String(), "JOB_STATE_"))
			return follower.ended, nil
		}
		if err != nil && !transient(err) {
			return follower.ended, err
		}
		if follower.sequence > before {
			outage = newOutage()
		}
		log.Printf("lost the stream after event %d, asking again: %v", follower.sequence, err)
		if err := outage.wait(ctx, err); err != nil {
			return follower.ended, err
		}
	}
}

// follower is the place in a job's history that a watch has reached.
type follower struct {
	client   *client
	job      string
	take     func(*pb.Event) error
	sequence int64
	ended    pb.JobState
}

// read reads one stream until it ends. A nil error without a terminal state means that the stream was cut short.
func (f *follower) read(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watchdog := time.AfterFunc(silence, func() { cancel(errSilent) })
	defer watchdog.Stop()
	stream, err := f.client.jobs.Watch(ctx, &pb.WatchRequest{Id: f.job, AfterSequence: f.sequence})
	if err != nil {
		return err
	}
	for f.ended == pb.JobState_JOB_STATE_UNSPECIFIED {
		message, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return errors.Join(err, context.Cause(ctx))
		}
		watchdog.Reset(silence)
		if err := f.handle(message); err != nil {
			return err
		}
	}
	return nil
}

// handle takes one message of the stream; a heartbeat only proves that the daemon lives.
func (f *follower) handle(message *pb.WatchResponse) error {
	if snapshot := message.GetSnapshot(); snapshot != nil {
		// Who asks after the last event of an ended job gets no terminal event: there is nothing left to tell.
		if terminal(snapshot.GetState()) && f.sequence >= snapshot.GetLastSequence() {
			f.ended = snapshot.GetState()
		}
	}
	event := message.GetEvent()
	if event == nil || event.GetSequence() <= f.sequence {
		return nil
	}
	if event.GetSequence() != f.sequence+1 {
		return fmt.Errorf("event %d did not arrive before event %d", f.sequence+1, event.GetSequence())
	}
	f.sequence = event.GetSequence()
	fmt.Println("event", f.job, f.sequence, kind(event))
	switch event.GetKind().(type) {
	case *pb.Event_JobSucceeded:
		f.ended = pb.JobState_JOB_STATE_SUCCEEDED
	case *pb.Event_JobFailed:
		f.ended = pb.JobState_JOB_STATE_FAILED
	case *pb.Event_JobCancelled:
		f.ended = pb.JobState_JOB_STATE_CANCELLED
	}
	return f.take(event)
}

func terminal(state pb.JobState) bool {
	return state == pb.JobState_JOB_STATE_SUCCEEDED || state == pb.JobState_JOB_STATE_FAILED ||
		state == pb.JobState_JOB_STATE_CANCELLED
}

// kind names what happened as the .proto file does; "unknown" stands for a kind that is newer than these stubs.
func kind(event *pb.Event) protoreflect.Name {
	message := event.ProtoReflect()
	field := message.WhichOneof(message.Descriptor().Oneofs().ByName("kind"))
	if field == nil {
		return "unknown"
	}
	return field.Name()
}
