import assert from "node:assert/strict";
import { test } from "node:test";

import { contract } from "./contract.mjs";
import { createLatest } from "../../static/js/latest.js";
import {
  OF_ONE_COLLECTION,
  formatSearch,
  formatState,
  formatView,
  hasTerms,
  newQuestion,
  parseState,
  patchState,
  readList,
  readView,
  sameAgain,
  sameSearch,
} from "../../static/js/state.js";

test("what is written is read back, and strangers are dropped", () => {
  const state = parseState("?q=mangrove+%26+mud&bbox=170,-20,-170,-10&utm_source=x&k=");
  assert.deepEqual({ ...state }, { q: "mangrove & mud", bbox: "170,-20,-170,-10" });
  assert.deepEqual(parseState(formatState(state)), state);
});

test("every parameter of the service survives in the address", () => {
  for (const key of contract.search) {
    const state = parseState(`?${key}=1`);
    assert.equal(state[key], "1", key);
    assert.equal(formatSearch(state), `?${key}=1`);
  }
});

test("a new question drops all that was asked and keeps what narrows and shows", () => {
  const asked = Object.fromEntries([...contract.search, ...contract.page].map((key) => [key, "1"]));
  const next = patchState(asked, newQuestion({ q: "fen" }));
  assert.equal(next.q, "fen");
  for (const key of [...contract.ranking, "offset", "tile"]) if (key !== "q") assert.equal(next[key], undefined, key);
  for (const key of ["bbox", "from", "max_per_country", "blend", "k", "collection", "view", "heat", "vs"]) {
    assert.equal(next[key], "1", key);
  }
});

test("an earlier search is asked again as it was, filters and all", () => {
  const now = parseState("?q=fen&bbox=0,0,1,1&max_cloud=0.2&view=1,2,3");
  assert.equal(formatState(patchState(now, sameAgain(parseState("?q=bog&k=5")))), "?q=bog&k=5&view=1,2,3");
});

test("ids of tiles do not follow into another collection", () => {
  const next = patchState(parseState("?q=fen&up=a&down=b&tiles=c&tile=d&k=5"), OF_ONE_COLLECTION);
  assert.deepEqual({ ...next }, { q: "fen", k: "5" });
});

test("an empty state is an empty address", () => {
  assert.equal(formatState(parseState("")), "");
});

test("the service never sees what is only the page's", () => {
  const state = parseState("?q=fen&view=1,2,3&tile=t1&flat=1");
  assert.equal(formatSearch(state), "?q=fen");
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

test("filters alone are no question, and what the service ranks by is one", () => {
  assert.ok(!hasTerms(parseState("?bbox=0,0,1,1&k=5&blend=1")));
  for (const key of ["q", "not", "terms", "like", "near", "species", "up", "down"])
    assert.ok(hasTerms({ [key]: "x" }), key);
});

test("views out of range are not taken", () => {
  assert.deepEqual(readView("-60.5,3,4.5"), { center: [-60.5, 3], zoom: 4.5 });
  for (const wrong of [undefined, "", "1,2", "1,2,", "181,0,3", "0,91,3", "0,0,-1", "a,b,c"])
    assert.equal(readView(wrong), null, String(wrong));
  assert.equal(formatView([-60.4999, 3], 4.46), "-60.50,3.00,4.5");
  assert.equal(formatView([10.1234567, 46.5], 14), "10.12346,46.50000,14.0"); // a tile of 640 m fills the screen
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
