package main

import (
	"context"
	"crypto/rand"
	"errors"
	mathrand "math/rand/v2"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

var (
	errSilent = errors.New("the daemon gave no sign of life")
	errShort  = errors.New("the stream ended before the job had ended")
)

// outage is the time since the daemon last made progress with a call.
type outage struct {
	deadline time.Time
	delay    time.Duration
}

func newOutage() *outage {
	return &outage{deadline: time.Now().Add(time.Minute), delay: 100 * time.Millisecond}
}

// wait pauses before the next try, each time for longer; it gives an error when the daemon stayed away for a minute.
func (o *outage) wait(ctx context.Context, cause error) error {
	if time.Now().After(o.deadline) {
		return errors.Join(errors.New("the daemon stayed away for a minute"), cause)
	}
	// Jitter, because a restarted daemon would otherwise meet all of its watchers at once.
	pause := time.Duration(float64(o.delay) * (0.5 + mathrand.Float64()/2))
	o.delay = min(2*o.delay, 5*time.Second)
	select {
	case <-time.After(pause):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// retry makes a call that is safe to repeat until it answers, or the daemon stays away for too long.
func retry(ctx context.Context, call func(context.Context) error) error {
	for outage := newOutage(); ; {
		limited, cancel := context.WithTimeout(ctx, 10*time.Second)
		err := call(limited)
		cancel()
		if err == nil || !transient(err) {
			return err
		}
		if err := outage.wait(ctx, err); err != nil {
			return err
		}
	}
}

// transient tells whether the same call may succeed a little later: the daemon is away or on its way out, or the
// transport broke. What the daemon itself refuses always carries a reason.
func transient(err error) bool {
	if errors.Is(err, errSilent) || errors.Is(err, errShort) {
		return true
	}
	switch status.Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded:
		return true
	case codes.Canceled, codes.ResourceExhausted, codes.Internal, codes.Unknown:
		_, isStatus := status.FromError(err)
		return isStatus && reason(err) == nil
	default:
		return false
	}
}

// reason gives what the daemon says for programs; nil where the error is not one of its own.
func reason(err error) *errdetails.ErrorInfo {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok && info.GetDomain() == "jobd" {
			return info
		}
	}
	return nil
}

// explain gives an error as a line for people: its reason, what happened, and how to go on.
func explain(err error) string {
	info := reason(err)
	if info == nil {
		return err.Error()
	}
	text := info.GetReason() + ": " + status.Convert(err).Message()
	if hint := info.GetMetadata()["hint"]; hint != "" {
		text += " (" + hint + ")"
	}
	return text
}

func newRequestID() string { return rand.Text() }
