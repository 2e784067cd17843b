import assert from "node:assert/strict";
import { test } from "node:test";

import { createLatest } from "../../static/js/latest.js";
import {
  SEARCH_KEYS,
  formatState,
  formatView,
  hasTerms,
  parseState,
  patchState,
  readList,
  readView,
  sameSearch,
} from "../../static/js/state.js";

test("what is written is read back, and strangers are dropped", () => {
  const state = parseState("?q=mangrove+%26+mud&bbox=170,-20,-170,-10&utm_source=x&k=");
  assert.deepEqual({ ...state }, { q: "mangrove & mud", bbox: "170,-20,-170,-10" });
  assert.deepEqual(parseState(formatState(state)), state);
});

test("repeated parameters join, as a form without script sends months", () => {
  assert.equal(parseState("?months=6&months=7").months, "6,7");
});

test("an empty state is an empty address", () => {
  assert.equal(formatState(parseState("")), "");
});

test("the service never sees what is only the page's", () => {
  const state = parseState("?q=fen&view=1,2,3&tile=t1&flat=1");
  assert.equal(formatState(state, SEARCH_KEYS), "?q=fen");
});

test("patching adds, changes and takes away", () => {
  const state = patchState(parseState("?q=a&bbox=0,0,1,1"), { q: "b", bbox: null, flat: true, k: 50 });
  assert.deepEqual({ ...state }, { q: "b", flat: "1", k: "50" });
  assert.ok(Object.isFrozen(state));
});

test("moving the camera is not a new question", () => {
  assert.ok(sameSearch(parseState("?q=a&view=0,0,1"), parseState("?view=5,5,2&q=a&tile=x")));
  assert.ok(!sameSearch(parseState("?q=a"), parseState("?q=a&not=b")));
});

test("filters alone are no question", () => {
  assert.ok(!hasTerms(parseState("?bbox=0,0,1,1&not=x&down=t")));
  assert.ok(["q", "like", "near", "species", "up"].every((key) => hasTerms({ [key]: "x" })));
});

test("views out of range are not taken", () => {
  assert.deepEqual(readView("-60.5,3,4.5"), { center: [-60.5, 3], zoom: 4.5 });
  for (const wrong of [undefined, "", "1,2", "1,2,", "181,0,3", "0,91,3", "0,0,-1", "a,b,c"])
    assert.equal(readView(wrong), null, String(wrong));
  assert.equal(formatView([-60.4999, 3], 4.46), "-60.50,3.00,4.5");
});

test("lists without entries are empty", () => {
  assert.deepEqual(readList(undefined), []);
  assert.deepEqual(readList("a,,b"), ["a", "b"]);
});

test("only the newest task gives a value", async () => {
  const latest = createLatest();
  let finishFirst;
  const first = latest.run(
    (signal) =>
      new Promise((resolve) => {
        finishFirst = () => resolve(signal.aborted);
      }),
  );
  const second = latest.run(async () => "new");
  finishFirst();
  assert.equal(await first, null);
  assert.equal(await second, "new");
  assert.equal(latest.busy(), false);
});

test("an overtaken failure is not reported, the newest is", async () => {
  const latest = createLatest();
  const late = latest.run(async () => {
    throw new Error("old");
  });
  const now = latest.run(async () => {
    throw new Error("new");
  });
  assert.equal(await late, null);
  await assert.rejects(now, /new/);
});

test("a stopped task gives nothing", async () => {
  const latest = createLatest();
  const task = latest.run(
    (signal) =>
      new Promise((_, reject) => signal.addEventListener("abort", () => reject(new DOMException("", "AbortError")))),
  );
  latest.stop();
  assert.equal(await task, null);
});
