// A chat service with ws, ioredis and mongodb as most would build it. Prints its port.
//
// A counter in Redis bounds the messages in process, and each exchange is inserted into MongoDB before its reply
// leaves. The counter leaks when the process dies, there is no queue, and an exchange is lost when MongoDB is down.
import { randomUUID } from "node:crypto";
import { Redis } from "ioredis";
import { MongoClient } from "mongodb";
import { WebSocketServer } from "ws";

const MAX_MESSAGES = 500;
const COUNTER = "messages";
const TEXT = 0;
const ERROR = 3;

function frame(kind, text) {
  const body = Buffer.from(text);
  const head = Buffer.alloc(9);
  head[0] = kind;
  head.writeUInt32BE(body.length, 1);
  return Buffer.concat([head, body]);
}

const redis = new Redis(process.env.REDIS_URL);
const mongodb = await new MongoClient(process.env.MONGODB_URL).connect();
const exchanges = mongodb.db("usual_node").collection("exchanges");

async function answer(socket, client, request) {
  const text = request.subarray(1).toString();
  try {
    if ((await redis.incr(COUNTER)) > MAX_MESSAGES) {
      socket.send(frame(ERROR, "busy: try again"));
      return;
    }
    const reply = `You said: ${text}`;
    await exchanges.insertOne({ _id: randomUUID(), client, at: new Date(), request: text, reply });
    socket.send(frame(TEXT, reply));
  } finally {
    await redis.decr(COUNTER);
  }
}

const server = new WebSocketServer({ host: "127.0.0.1", port: 0, perMessageDeflate: false, backlog: 2048 });
server.on("listening", () => console.log(server.address().port));
server.on("connection", (socket, request) => {
  const client = new URL(request.url, "http://localhost").searchParams.get("clientId");
  let last = Promise.resolve();
  socket.on("error", () => {});
  socket.on("message", (message) => {
    last = last.then(() => answer(socket, client, message)); // in order, one at a time
  });
});
