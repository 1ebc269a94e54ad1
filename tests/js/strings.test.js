// Every language says everything, in the same form.
import assert from "node:assert/strict";
import { test } from "node:test";

import { TEMPORARY_DENIALS, TOKEN_DENIALS } from "../../client/web/chat_web/static/connection.js";
import { LANGUAGES, chooseLanguage } from "../../client/web/chat_web/static/strings.js";

const form = (value) =>
  value !== null && typeof value === "object"
    ? Object.fromEntries(Object.entries(value).map(([name, each]) => [name, form(each)]))
    : `${typeof value} ${value.length > 0}`;

const { en, ...others } = LANGUAGES;
for (const [language, strings] of Object.entries(others)) {
  test(`${language} has what English has`, () => {
    assert.deepEqual(form(strings), form(en));
    for (const [name, value] of Object.entries(strings)) {
      if (typeof value === "function") assert.match(value("7"), /7/, name);
    }
  });
}

test("every denial that passes, or that a token ends, has words of its own", () => {
  const unsaid = [...TEMPORARY_DENIALS, ...TOKEN_DENIALS].filter((code) => !(code in en.reasons));
  assert.deepEqual(unsaid, []);
});

test("the first language that there is is chosen, and English without one", () => {
  assert.equal(chooseLanguage(["fr-FR", "de-AT", "en"]), "de");
  assert.equal(chooseLanguage(["DE"]), "de");
  assert.equal(chooseLanguage(["en-GB", "de"]), "en");
  assert.equal(chooseLanguage(["fr", "den"]), "en");
  assert.equal(chooseLanguage([]), "en");
});
