// Every shared test vector of chatbot.v2, both ways, as tests/frameproto/test_v2.py runs them in Python.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { FrameError, errorOf } from "../../client/web/chat_web/static/frameproto.js";
import {
  ClientType,
  Progress,
  ServerType,
  decodeClientFrame,
  decodeServerFrame,
  encodeCancel,
  encodeMessageRequest,
  encodeServerFrame,
} from "../../client/web/chat_web/static/frameproto-v2.js";

const load = (name) =>
  JSON.parse(readFileSync(new URL(`../../libs/frameproto/vectors/${name}.json`, import.meta.url), "utf8"));

function unhex(spelled) {
  const pieces = typeof spelled === "string" ? [spelled] : spelled;
  return new Uint8Array(
    Buffer.concat(
      pieces.map((piece) =>
        typeof piece === "string"
          ? Buffer.from(piece, "hex")
          : Buffer.alloc(piece.times * (piece.repeat.length / 2), Buffer.from(piece.repeat, "hex")),
      ),
    ),
  );
}

const bytesOf = (vector, part) => unhex(vector[part] ?? "");
const bodyOf = (vector) => ("text" in vector ? vector.text : unhex(vector.body));
const refused = (code) => (error) => error instanceof FrameError && error.code === code;
const same = (left, right) => assert.ok(Buffer.from(left).equals(Buffer.from(right)));

const encodeClient = (vector) =>
  vector.type === ClientType.CANCEL
    ? encodeCancel(vector.message_id)
    : encodeMessageRequest(vector.message_id, vector.kind, bodyOf(vector), { again: vector.type === ClientType.AGAIN });

function encodeServer(vector) {
  const { type, kind, text, progress, message_id: messageId } = vector;
  const response = { kind, text, voice: bytesOf(vector, "voice"), image: bytesOf(vector, "image") };
  return encodeServerFrame({ type, messageId, response, text, progress });
}

const client = load("v2_client");
for (const vector of client.valid) {
  test(`client frame: ${vector.name}`, () => {
    const frame = unhex(vector.hex);
    same(encodeClient(vector), frame);
    const decoded = decodeClientFrame(frame, vector.max_bytes);
    assert.equal(decoded.type, vector.type);
    assert.equal(decoded.messageId, vector.message_id);
    if (vector.type === ClientType.CANCEL) {
      assert.equal(decoded.request, undefined);
    } else {
      assert.equal(decoded.request.kind, vector.kind);
      same(decoded.request.body, typeof bodyOf(vector) === "string" ? Buffer.from(bodyOf(vector)) : bodyOf(vector));
    }
  });
}
for (const vector of client.invalid) {
  test(`client frame refused: ${vector.name}`, () => {
    assert.throws(() => decodeClientFrame(unhex(vector.hex), vector.max_bytes), refused(vector.code));
  });
}
for (const vector of client.unencodable) {
  test(`client frame not encoded: ${vector.name}`, () => {
    assert.throws(() => encodeClient(vector), refused(vector.code));
  });
}

const server = load("v2_server");
for (const vector of server.valid) {
  test(`server frame: ${vector.name}`, () => {
    const frame = unhex(vector.hex);
    same(encodeServer(vector), frame);
    const decoded = decodeServerFrame(frame, vector.max_bytes);
    assert.equal(decoded.type, vector.type);
    assert.equal(decoded.messageId, vector.message_id);
    assert.equal(decoded.progress, vector.progress);
    assert.equal(decoded.response?.text ?? decoded.text, vector.text);
    if (vector.type === ServerType.RESPONSE) {
      assert.equal(decoded.response.kind, vector.kind);
      same(decoded.response.voice, bytesOf(vector, "voice"));
      same(decoded.response.image, bytesOf(vector, "image"));
    }
    if ("error_code" in vector) {
      assert.deepEqual(errorOf(decoded.response), { code: vector.error_code, message: vector.error_message });
    }
  });
}
for (const vector of server.invalid) {
  test(`server frame refused: ${vector.name}`, () => {
    assert.throws(() => decodeServerFrame(unhex(vector.hex), vector.max_bytes), refused(vector.code));
  });
}
for (const vector of server.unencodable) {
  test(`server frame not encoded: ${vector.name}`, () => {
    assert.throws(() => encodeServer(vector), refused(vector.code));
  });
}

test("an id of the browser's own making comes back, whatever its case", () => {
  const id = globalThis.crypto.randomUUID();
  assert.equal(decodeClientFrame(encodeCancel(id)).messageId, id);
  assert.equal(decodeClientFrame(encodeCancel(id.toUpperCase())).messageId, id);
});

test("what is no id, no type and no status is not encoded", () => {
  const messageId = globalThis.crypto.randomUUID();
  for (const wrong of ["", "7", messageId.replaceAll("-", ""), `${messageId}\n`, `{${messageId}}`]) {
    assert.throws(() => encodeCancel(wrong), refused("frame_id_invalid"));
  }
  assert.throws(() => encodeServerFrame({ type: 3, messageId }), refused("frame_kind_unknown"));
  assert.throws(
    () => encodeServerFrame({ type: ServerType.STATUS, messageId, progress: 4 }),
    refused("frame_status_unknown"),
  );
});

test("there are vectors of every group, type and status", () => {
  for (const file of [client, server]) {
    for (const group of ["valid", "invalid", "unencodable"]) assert.ok(file[group].length > 0, group);
  }
  const types = (file) => new Set(file.valid.map((vector) => vector.type));
  assert.deepEqual(types(client), new Set(Object.values(ClientType)));
  assert.deepEqual(types(server), new Set(Object.values(ServerType)));
  const progress = new Set(server.valid.filter((vector) => "progress" in vector).map((vector) => vector.progress));
  assert.deepEqual(progress, new Set(Object.values(Progress)));
});
