// A Breezeway client in Node: runs an agent and prints what it says, also where the server is lost on the way.
// `npm install`, then `node client.js 127.0.0.1:50051 demo "What is 6 * 7?"`. PROTOS is where Breezeway's protos lie, and
// GOOGLEAPIS where google/api and google/rpc do: a checkout of googleapis, or Python's site-packages beside Breezeway.
import { randomUUID } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";

const [address, agent, question] = process.argv.slice(2);
const protos = process.env.PROTOS ?? fileURLToPath(new URL("../../../protos", import.meta.url));
const includeDirs = [protos, process.env.GOOGLEAPIS].filter(Boolean);
const options = { includeDirs, enums: String, longs: Number, oneofs: true };
const { v1 } = grpc.loadPackageDefinition(loader.loadSync("breezeway/v1/stream_service.proto", options)).breezeway;

// A server that was restarted is found again at once, not after gRPC's default of up to two minutes.
const channel = { "grpc.initial_reconnect_backoff_ms": 100, "grpc.max_reconnect_backoff_ms": 1000 };
const client = new v1.StreamService(address, grpc.credentials.createInsecure(), channel);
const request = {
  spec: { agent },
  input: [{ message: { role: "ROLE_USER", content: [{ text: { text: question } }] } }],
  requestId: randomUUID(), // With it a call that was lost before its first event can be made again.
};

let runId = "";
let afterSequence = 0;
let end;
for (let tries = 0; !end; tries += 1) {
  const call = runId ? client.followRun({ runId, afterSequence }) : client.streamRun(request);
  try {
    for await (const { events } of call) {
      for (const event of events) {
        ({ runId, sequence: afterSequence } = event);
        tries = 0;
        if (event.kind === "textDelta") process.stdout.write(event.textDelta.text);
        if (["runCompleted", "runIncomplete", "runFailed", "runCancelled"].includes(event.kind)) end = event;
      }
    }
    if (!end) throw new Error("the stream ended before the run did");
  } catch (error) {
    if (![grpc.status.UNAVAILABLE, grpc.status.CANCELLED].includes(error.code) || tries > 20) throw error;
    await pause(Math.min(100 * 2 ** tries, 2000));
  }
}
client.close();
console.log();
console.error(`${runId}: ${end.kind}`);
process.exitCode = end.kind === "runCompleted" ? 0 : 1;
