// The client against a server of both versions in this process.
import assert from "node:assert/strict";
import { test } from "node:test";

import { ChatClient, ConnectionLost, Denied, State } from "../../client/web/chat_web/static/chat-client.js";
import { errorOf } from "../../client/web/chat_web/static/frameproto.js";
import { ClientType, Progress } from "../../client/web/chat_web/static/frameproto-v2.js";
import { RequestKind, StandIn, V1, V2, decodeClientFrame, piece, response2 } from "./stand_in.js";

const TEXT = RequestKind.TEXT;

/** Let everything that is due happen, and then move the clock, until `done` or too often. */
async function until(context, done, milliseconds = 100) {
  for (let turn = 0; turn < 20_000; turn += 1) {
    for (let tick = 0; tick < 20; tick += 1) await Promise.resolve();
    if (done()) return;
    context.mock.timers.tick(milliseconds);
  }
  assert.fail("it did not happen");
}

function opened(context, server, options = {}) {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const changes = [];
  const client = new ChatClient({ ...server.options, ...options, onState: (change) => changes.push(change) });
  context.after(() => client.close());
  return { client, changes };
}

const outcome = (promise) => {
  const found = {};
  promise.then(
    (response) => Object.assign(found, { response, done: true }),
    (error) => Object.assign(found, { error, done: true }),
  );
  return found;
};

test("v2: status and pieces come before the response", async (context) => {
  const { client } = opened(context, new StandIn());
  const texts = [];
  const progress = [];
  const reply = await client.ask("hello", TEXT, {
    onText: (text) => texts.push(text),
    onProgress: (now) => progress.push(now),
  });
  assert.equal(reply.text, "reply to hello");
  assert.deepEqual(texts, ["reply", "reply to hello"]);
  assert.deepEqual(progress, [Progress.THINKING]);
  assert.equal(client.cancels, true);
});

test("both versions are offered, the token behind them, and v1 is spoken where the server chooses it", async (context) => {
  const server = new StandIn({ protocol: V1 });
  const { client } = opened(context, server, { token: () => "abc" });
  const replies = await Promise.all([client.ask("one"), client.ask("two")]);
  assert.deepEqual(server.last.offered, [V2, V1, "bearer.abc"]);
  assert.deepEqual(replies.map(({ text }) => text), ["reply to one", "reply to two"]);
  assert.equal(client.cancels, false);
});

test("v2: an unanswered message is sent again by its name, and answered once", async (context) => {
  const server = new StandIn();
  const answer = server.asked.bind(server);
  server.asked = (socket, id, text) => socket.deliver(piece(id, "rep"));
  const { client } = opened(context, server);
  const texts = [];
  const asked = outcome(client.ask("hello", TEXT, { onText: (text) => texts.push(text) }));
  await until(context, () => texts.length === 1);
  server.asked = answer;
  server.last.end(1006);
  await until(context, () => asked.done);
  assert.equal(asked.response.text, "reply to hello");
  assert.deepEqual(texts, ["rep", "", "reply", "reply to hello"]);
  const frames = server.sockets.map(({ sent }) => sent.map((frame) => decodeClientFrame(frame)));
  assert.deepEqual(frames.map((each) => each.map(({ type }) => type)), [[ClientType.REQUEST], [ClientType.AGAIN]]);
  assert.equal(frames[0][0].messageId, frames[1][0].messageId);
});

test("a message that was never on the wire is a request, also after a reconnect", async (context) => {
  let down = true;
  const server = new StandIn({ refuse: () => (down ? { status: 503, code: "draining" } : undefined) });
  const { client, changes } = opened(context, server);
  const asked = outcome(client.ask("hello"));
  await until(context, () => changes.filter(({ state }) => state === State.WAITING).length === 2);
  down = false;
  await until(context, () => asked.done);
  assert.equal(decodeClientFrame(server.last.sent[0]).type, ClientType.REQUEST);
});

test("v1: a message on the way fails with its connection, and one behind it does not", async (context) => {
  const server = new StandIn({ protocol: V1 });
  const received = server.received.bind(server);
  server.received = () => {};
  const { client } = opened(context, server, { window: 1 });
  const first = outcome(client.ask("one"));
  const second = outcome(client.ask("two"));
  await until(context, () => server.sockets.length === 1 && server.last.sent.length === 1);
  server.received = received;
  server.last.end(1012);
  await until(context, () => first.done && second.done);
  assert.ok(first.error instanceof ConnectionLost);
  assert.equal(second.response.text, "reply to two");
});

test("a message that was sent over v2 fails when only v1 comes back", async (context) => {
  const server = new StandIn();
  server.asked = () => {};
  const { client } = opened(context, server);
  const asked = outcome(client.ask("hello"));
  await until(context, () => server.sockets.length === 1 && server.last.sent.length === 1);
  server.protocol = V1;
  server.last.end(1012);
  await until(context, () => asked.done);
  assert.ok(asked.error instanceof ConnectionLost);
  assert.equal(server.last.sent.length, 0);
});

test("v2: what is taken back is cancelled at the server, whose response counts", async (context) => {
  const server = new StandIn();
  server.asked = () => {};
  const { client } = opened(context, server);
  const taking = new AbortController();
  const asked = outcome(client.ask("hello", TEXT, { signal: taking.signal }));
  await until(context, () => server.sockets.length === 1 && server.last.sent.length === 1);
  taking.abort();
  await until(context, () => asked.done);
  assert.equal(errorOf(asked.response).code, "cancelled");
  assert.equal(decodeClientFrame(server.last.sent[1]).type, ClientType.CANCEL);
});

test("what is taken back before it was sent, or while the connection is away, is not sent", async (context) => {
  let down = false;
  const server = new StandIn({ refuse: () => (down ? { status: 503, code: "draining" } : undefined) });
  server.asked = () => {};
  const { client } = opened(context, server);
  const taking = new AbortController();
  const asked = outcome(client.ask("hello", TEXT, { signal: taking.signal }));
  await until(context, () => server.sockets.length === 1 && server.last.sent.length === 1);
  down = true;
  server.last.end(1012);
  const later = outcome(client.ask("later", TEXT, { signal: taking.signal }));
  taking.abort();
  await until(context, () => asked.done && later.done);
  assert.deepEqual([asked.error.name, later.error.name], ["AbortError", "AbortError"]);
  down = false;
  await until(context, () => client.state === State.OPEN);
  assert.equal(server.last.sent.length, 0);
});

test("v1: a reply that nobody waits for any more is not taken for the next one", async (context) => {
  const server = new StandIn({ protocol: V1 });
  const { client } = opened(context, server);
  const taking = new AbortController();
  const first = outcome(client.ask("one", TEXT, { signal: taking.signal }));
  const second = outcome(client.ask("two"));
  await until(context, () => client.state === State.OPEN || server.sockets.length === 1, 0);
  taking.abort();
  await until(context, () => second.done);
  assert.equal(second.response.text, "reply to two");
  assert.equal(first.error?.name ?? first.response?.text, first.error ? "AbortError" : "reply to one");
});

test("no more messages are on the way than the window has room for", async (context) => {
  const server = new StandIn();
  const asked = [];
  server.asked = (socket, id) => asked.push(id);
  const { client } = opened(context, server, { window: 2 });
  const outcomes = ["one", "two", "three"].map((text) => outcome(client.ask(text)));
  await until(context, () => asked.length === 2);
  server.last.deliver(response2(asked[0], { kind: 0, text: "reply" }));
  await until(context, () => asked.length === 3);
  assert.deepEqual(outcomes.map(({ done }) => done ?? false), [true, false, false]);
});

test("a message whose every connection breaks fails in the end", async (context) => {
  const server = new StandIn();
  server.asked = (socket) => queueMicrotask(() => socket.end(1006));
  const { client } = opened(context, server);
  const asked = outcome(client.ask("poison"));
  await until(context, () => asked.done, 1000);
  assert.ok(asked.error instanceof ConnectionLost);
  assert.equal(server.sockets.filter(({ sent }) => sent.length > 0).length, 10);
});

test("a response that is no frame ends the conversation, and does not start it anew", async (context) => {
  const server = new StandIn();
  server.asked = (socket) => socket.deliver(Uint8Array.of(9));
  const { client } = opened(context, server);
  await assert.rejects(client.ask("hello"), Denied);
  assert.equal(client.state, State.DENIED);
});

test("a denial for good fails what waits, and a later message tries again", async (context) => {
  let problem = { status: 400, code: "time_zone_unknown", detail: "no such zone" };
  const server = new StandIn({ refuse: () => problem });
  const { client } = opened(context, server);
  await assert.rejects(client.ask("hello"), (error) => error instanceof Denied && error.code === "time_zone_unknown");
  problem = undefined;
  assert.equal((await client.ask("hello")).text, "reply to hello");
});

test("the place in the queue is told while the handshake waits, and kept over retries", async (context) => {
  let problem = { status: 503, code: "cluster_full", place: 3, waitedSeconds: 2, keptSeconds: 20 };
  const server = new StandIn({ refuse: () => problem });
  const arrived = server.arrived.bind(server);
  server.arrived = () => {};
  const { client, changes } = opened(context, server);
  client.connect();
  await until(context, () => changes.some(({ place }) => place === 3));
  assert.deepEqual(changes.at(-1), { state: State.CONNECTING, code: "cluster_full", place: 3, waited: 2, left: undefined });
  problem = { ...problem, code: "limits_learning", seconds: 9 };
  await until(context, () => changes.some(({ left }) => left === 9));
  assert.equal(changes.at(-1).code, "limits_learning");
  problem = { ...problem, place: 1, waitedSeconds: 8 };
  server.last.end(1006);
  await until(context, () => changes.some(({ state }) => state === State.WAITING));
  assert.ok(changes.find(({ state }) => state === State.WAITING).seconds < 1); // its place is kept: a short pause
  problem = undefined;
  server.arrived = arrived;
  await until(context, () => client.state === State.OPEN);
  const names = server.sockets.map(({ address }) => address.searchParams.get("waitId"));
  assert.equal(new Set(names).size, 1);
  const looks = server.looks;
  context.mock.timers.tick(60_000);
  assert.equal(server.looks, looks); // nobody asks for the place any more
  server.last.end(1012);
  await until(context, () => server.sockets.length === names.length + 1 && client.state === State.OPEN);
  assert.notEqual(server.last.address.searchParams.get("waitId"), names[0]);
});

test("a thousand random cuts: every message is answered once, in order, and taken once by the bot", async (context) => {
  let state = 20260301;
  const random = () => (state = (state * 48271) % 2147483647) / 2147483647;
  const server = new StandIn();
  const answer = server.asked.bind(server);
  let cuts = 0;
  server.asked = (socket, id, text) => {
    const cut = cuts < 1000 && random() < 0.15;
    if (cut) cuts += 1;
    const how = random();
    if (cut && how < 0.3) return socket.end(1006); // before the message arrived
    if (cut && how < 0.6) socket.deliver(piece(id, "rep"));
    answer(socket, id, text);
    if (cut) socket.end(how < 0.8 ? 1012 : 1006); // before the response left
    return undefined;
  };
  const { client } = opened(context, server);
  const answered = [];
  const outcomes = [];
  let asked = 0;
  await until(context, () => {
    while (client._unanswered.size < 3 && (cuts < 1000 || asked % 10 !== 0)) {
      const text = `message ${asked++}`;
      outcomes.push(outcome(client.ask(text).then((reply) => answered.push(reply.text))));
    }
    return cuts >= 1000 && outcomes.every(({ done }) => done);
  }, 31_000);
  assert.deepEqual(outcomes.filter(({ error }) => error), []);
  assert.deepEqual(answered, Array.from({ length: asked }, (_, number) => `reply to message ${number}`));
  assert.deepEqual(new Set(server.turns.values()), new Set([1]));
});
