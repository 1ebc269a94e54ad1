// Node's ws as small as it gets: each message is answered with its first bytes. Prints its port.
import { WebSocketServer } from "ws";

const REPLY_BYTES = 64;

const server = new WebSocketServer({ host: "127.0.0.1", port: 0, perMessageDeflate: false, backlog: 2048 });
server.on("listening", () => console.log(server.address().port));
server.on("connection", (socket) => {
  socket.on("error", () => {});
  socket.on("message", (request) => socket.send(request.subarray(0, REPLY_BYTES)));
});
