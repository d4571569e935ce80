// A Breezeway agent in Go: says again what it was told, and does what `breezeway agent check` asks for.
// `./build.sh build`, then `build/agent 127.0.0.1:50061`.
package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	pb "example.com/breezeway/agent/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

type agent struct {
	pb.UnimplementedAgentServiceServer
	cancelled sync.Map
}

func textOf(item *pb.Item) (text string) {
	for _, part := range item.GetMessage().GetContent() {
		text += part.GetText().GetText()
	}
	return text
}

func call(id, name, arguments string, executor pb.Executor) []*pb.AgentStep {
	return []*pb.AgentStep{
		{Kind: &pb.AgentStep_ToolCallStarted{ToolCallStarted: &pb.AgentToolCallStarted{CallId: id, Name: name, Executor: executor}}},
		{Kind: &pb.AgentStep_ToolArgumentsDelta{ToolArgumentsDelta: &pb.AgentToolArgumentsDelta{CallId: id, Arguments: arguments}}},
		{Kind: &pb.AgentStep_ToolCallCompleted{ToolCallCompleted: &pb.AgentToolCallCompleted{CallId: id}}},
	}
}

func (a *agent) Describe(context.Context, *pb.DescribeRequest) (*pb.DescribeResponse, error) {
	takes := &pb.AgentCapabilities{ClientTools: true, Resumable: true}
	return &pb.DescribeResponse{ProtocolVersion: 1, Description: "Says again what it is told.", Capabilities: takes}, nil
}

func (a *agent) Run(request *pb.RunRequest, out grpc.ServerStreamingServer[pb.RunResponse]) error {
	send := func(steps ...*pb.AgentStep) error { return out.Send(&pb.RunResponse{Steps: steps}) }
	say := func(text string) error {
		return send(&pb.AgentStep{Kind: &pb.AgentStep_TextDelta{TextDelta: &pb.AgentTextDelta{Text: text}}})
	}
	ask, said, answered := "", "", map[string]bool{}
	for _, item := range append(append(request.History, request.Input...), request.Output...) {
		answered[item.GetFunctionCallOutput().GetCallId()] = true
		if item.GetMessage().GetRole() == pb.Role_ROLE_USER {
			ask, said = textOf(item), "" // What comes after it is what the run has said so far.
		} else {
			said += textOf(item)
		}
	}
	answer := "You said: " + ask
	switch id, found := strings.CutPrefix(ask, "conformance: cancelled "); {
	case found:
		_, was := a.cancelled.Load(id)
		answer = map[bool]string{true: "yes", false: "no"}[was]
	case ask == "conformance: cancel":
		for ; say("on and ") == nil; time.Sleep(20 * time.Millisecond) {
		}
		a.cancelled.Store(request.RunId, true) // The run was cancelled: this is the place to stop model calls and tools.
		return out.Context().Err()
	case ask == "conformance: error":
		failed := &pb.RunError{Reason: "EXAMPLE_FAILURE", Message: "As asked.", Code: 13}
		return send(&pb.AgentStep{Kind: &pb.AgentStep_RunFailed{RunFailed: failed}})
	case ask == "conformance: big":
		answer = strings.Repeat("0123456789abcde ", 65536)
	case ask == "conformance: tool" && !answered["add_1"]:
		sum := []*pb.ContentPart{{Kind: &pb.ContentPart_Text{Text: &pb.Text{Text: "3"}}}}
		output := &pb.AgentStep_ToolCallOutput{ToolCallOutput: &pb.AgentToolCallOutput{CallId: "add_1", Content: sum}}
		send(append(call("add_1", "add", `{"a":1,"b":2}`, pb.Executor_EXECUTOR_SERVER), &pb.AgentStep{Kind: output})...)
	case ask == "conformance: client tool" && len(request.GetSpec().GetTools()) > 0 && !answered["theirs_1"]:
		return send(call("theirs_1", request.Spec.Tools[0].GetFunction().GetName(), `{"text":"hello"}`, pb.Executor_EXECUTOR_CLIENT)...)
	}
	rest := []rune(strings.TrimPrefix(answer, said)) // By character, never inside one.
	for size := max(8, len(rest)/16); len(rest) > 0 && out.Context().Err() == nil; rest = rest[min(size, len(rest)):] {
		say(string(rest[:min(size, len(rest))]))
	}
	return out.Context().Err()
}

func main() {
	listener, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	server := grpc.NewServer()
	pb.RegisterAgentServiceServer(server, new(agent))
	healthpb.RegisterHealthServer(server, health.NewServer())
	fmt.Printf("listening on %s\n", listener.Addr())
	log.Fatal(server.Serve(listener))
}
