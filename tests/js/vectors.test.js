// Every shared test vector of requests and responses, both ways, as tests/frameproto/test_vectors.py runs them in Python.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import {
  FrameError,
  ResponseKind,
  decodeRequest,
  decodeResponse,
  encodeRequest,
  encodeResponse,
  errorOf,
} from "../../client/web/chat_web/static/frameproto.js";

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

const bodyOf = (vector) => ("text" in vector ? vector.text : unhex(vector.body));
const responseOf = (vector) => ({
  kind: vector.kind,
  text: vector.text,
  voice: unhex(vector.voice ?? ""),
  image: unhex(vector.image ?? ""),
});
const refused = (code) => (error) => error instanceof FrameError && error.code === code;
const same = (left, right) => assert.ok(Buffer.from(left).equals(Buffer.from(right)));

const requests = load("requests");
for (const vector of requests.valid) {
  test(`request: ${vector.name}`, () => {
    const frame = unhex(vector.hex);
    same(encodeRequest(vector.kind, bodyOf(vector)), frame);
    const decoded = decodeRequest(frame, vector.max_bytes);
    assert.equal(decoded.kind, vector.kind);
    same(decoded.body, typeof bodyOf(vector) === "string" ? Buffer.from(bodyOf(vector)) : bodyOf(vector));
  });
}
for (const vector of requests.invalid) {
  test(`request refused: ${vector.name}`, () => {
    assert.throws(() => decodeRequest(unhex(vector.hex), vector.max_bytes), refused(vector.code));
  });
}
for (const vector of requests.unencodable) {
  test(`request not encoded: ${vector.name}`, () => {
    assert.throws(() => encodeRequest(vector.kind, bodyOf(vector)), refused(vector.code));
  });
}

const responses = load("responses");
for (const vector of responses.valid) {
  test(`response: ${vector.name}`, () => {
    const frame = unhex(vector.hex);
    same(encodeResponse(responseOf(vector)), frame);
    const decoded = decodeResponse(frame, vector.max_bytes);
    assert.equal(decoded.kind, vector.kind);
    assert.equal(decoded.text, vector.text);
    same(decoded.voice, unhex(vector.voice ?? ""));
    same(decoded.image, unhex(vector.image ?? ""));
    if (vector.kind === ResponseKind.ERROR) {
      assert.deepEqual(errorOf(decoded), { code: vector.error_code, message: vector.error_message });
    } else {
      assert.throws(() => errorOf(decoded), TypeError);
    }
  });
}
for (const vector of responses.invalid) {
  test(`response refused: ${vector.name}`, () => {
    assert.throws(() => decodeResponse(unhex(vector.hex), vector.max_bytes), refused(vector.code));
  });
}
for (const vector of responses.unencodable) {
  test(`response not encoded: ${vector.name}`, () => {
    assert.throws(() => encodeResponse(responseOf(vector)), refused(vector.code));
  });
}

test("there are vectors of every group", () => {
  for (const file of [requests, responses]) {
    for (const group of ["valid", "invalid", "unencodable"]) assert.ok(file[group].length > 0, group);
  }
});
