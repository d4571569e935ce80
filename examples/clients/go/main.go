// A Breezeway client in Go: runs an agent and prints what it says, also where the server is lost on the way.
// `./build.sh build`, then `build/client 127.0.0.1:50051 demo "What is 6 * 7?"`.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"time"

	pb "example.com/breezeway/client/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

// What StreamRun and FollowRun have in common.
type batch interface{ GetEvents() []*pb.RunEvent }

// A run that is followed, and how far.
type follower struct {
	streams pb.StreamServiceClient
	request *pb.StreamRunRequest
	last    *pb.RunEvent
}

// Opens the run, or goes on with it after the last event.
func (f *follower) open(ctx context.Context) (func() (batch, error), error) {
	if f.last == nil {
		stream, err := f.streams.StreamRun(ctx, f.request)
		return func() (batch, error) { return stream.Recv() }, err
	}
	rest := &pb.FollowRunRequest{RunId: f.last.RunId, AfterSequence: f.last.Sequence}
	stream, err := f.streams.FollowRun(ctx, rest)
	return func() (batch, error) { return stream.Recv() }, err
}

// Prints what comes until the stream ends; nil where it ended well.
func (f *follower) read(ctx context.Context) error {
	next, err := f.open(ctx)
	if err != nil {
		return err
	}
	for {
		batch, err := next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, event := range batch.GetEvents() {
			f.last = event
			fmt.Print(event.GetTextDelta().GetText())
		}
	}
}

func main() {
	// A server that was restarted is found again at once, not after gRPC's default of up to two minutes.
	soon := grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, MaxDelay: time.Second}})
	channel, err := grpc.NewClient(os.Args[1], grpc.WithTransportCredentials(insecure.NewCredentials()), soon)
	if err != nil {
		log.Fatal(err)
	}
	question := []*pb.ContentPart{{Kind: &pb.ContentPart_Text{Text: &pb.Text{Text: os.Args[3]}}}}
	message := &pb.Item_Message{Message: &pb.Message{Role: pb.Role_ROLE_USER, Content: question}}
	run := &follower{streams: pb.NewStreamServiceClient(channel), request: &pb.StreamRunRequest{
		Spec:      &pb.RunSpec{Agent: os.Args[2]},
		Input:     []*pb.Item{{Kind: message}},
		RequestId: rand.Text(), // With it a call that was lost before its first event can be made again.
	}}
	wait := 100 * time.Millisecond
	for began := time.Now(); ; wait = min(2*wait, 2*time.Second) {
		before := run.last
		err := run.read(context.Background())
		if err == nil {
			break
		}
		if run.last != before {
			wait, began = 100*time.Millisecond, time.Now()
		}
		lost := status.Code(err) == codes.Unavailable || status.Code(err) == codes.Canceled
		if !lost || time.Since(began) > 30*time.Second {
			log.Fatal(err)
		}
		time.Sleep(wait)
	}
	fmt.Println()
	if run.last.GetRunCompleted() == nil {
		log.Fatalf("%s did not complete: %v", run.last.GetRunId(), run.last.GetRunFailed().GetError().GetMessage())
	}
}
