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

// watch is the place in a job's history that a client has reached.
type watch struct {
	jobs     pb.JobServiceClient
	job      string
	sequence int64
	state    pb.JobState // a terminal one as soon as the job has ended
}

func toTheEnd(*pb.Event) bool { return false }

// follow goes on from where the watch is, until the job ends or an event is enough. Each event is told once, in order,
// however often the stream breaks.
func (w *watch) follow(ctx context.Context, enough func(*pb.Event) bool) error {
	outage := newOutage()
	for !terminal(w.state) {
		before := w.sequence
		done, err := w.read(ctx, enough)
		if done || err != nil && !transient(err) {
			return err
		}
		if w.sequence > before {
			outage = newOutage()
		}
		log.Printf("lost the stream after event %d, asking again: %s", w.sequence, explain(err))
		if err := outage.wait(ctx, err); err != nil {
			return err
		}
	}
	return nil
}

// read reads one stream, and tells whether it came as far as it should; else the stream was cut short.
func (w *watch) read(ctx context.Context, enough func(*pb.Event) bool) (done bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watchdog := time.AfterFunc(silence, func() { cancel(errSilent) })
	defer watchdog.Stop()
	stream, err := w.jobs.Watch(ctx, &pb.WatchRequest{Id: w.job, AfterSequence: w.sequence})
	if err != nil {
		return false, err
	}
	for {
		message, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return false, errShort
		}
		if err != nil {
			return false, errors.Join(err, context.Cause(ctx))
		}
		watchdog.Reset(silence)
		event, err := w.take(message)
		if err != nil || terminal(w.state) || event != nil && enough(event) {
			return err == nil, err
		}
	}
}

// take counts one message of the stream, and gives its event if it is a new one. A heartbeat only proves that the
// daemon lives.
func (w *watch) take(message *pb.WatchResponse) (*pb.Event, error) {
	if snapshot := message.GetSnapshot(); terminal(snapshot.GetState()) && w.sequence >= snapshot.GetLastSequence() {
		// Who asks after the last event of an ended job gets no terminal event: there is nothing left to tell.
		w.end(snapshot.GetState())
	}
	event := message.GetEvent()
	if event == nil || event.GetSequence() <= w.sequence {
		return nil, nil
	}
	if event.GetSequence() != w.sequence+1 {
		return nil, fmt.Errorf("event %d did not arrive before event %d", w.sequence+1, event.GetSequence())
	}
	w.sequence = event.GetSequence()
	fmt.Println("event", w.job, w.sequence, kind(event))
	switch event.GetKind().(type) {
	case *pb.Event_JobSucceeded:
		w.end(pb.JobState_JOB_STATE_SUCCEEDED)
	case *pb.Event_JobFailed:
		w.end(pb.JobState_JOB_STATE_FAILED)
	case *pb.Event_JobCancelled:
		w.end(pb.JobState_JOB_STATE_CANCELLED)
	}
	return event, nil
}

func (w *watch) end(state pb.JobState) {
	w.state = state
	fmt.Println("state", w.job, strings.TrimPrefix(state.String(), "JOB_STATE_"))
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
