/** The only file that speaks HTTP. "No answer" and "an answer we did not want" are told apart; both carry a sentence to show. */

import { SEARCH_KEYS, formatState } from "./state.js";

/** The service answered with problem+json (RFC 9457). */
export class ServiceProblem extends Error {
  /** @param {{title?: string, detail?: string, status?: number, parameter?: string, request_id?: string}} problem */
  constructor(problem) {
    super(problem.detail || problem.title || "The service could not answer.");
    this.name = "ServiceProblem";
    this.status = problem.status ?? 500;
    this.parameter = problem.parameter ?? null;
    this.requestId = problem.request_id ?? null;
  }
}

/** Nothing came back: network down, service stopped, or too slow. */
export class NoAnswer extends Error {
  constructor(cause) {
    super("The search service could not be reached. Check the connection, then try again.", { cause });
    this.name = "NoAnswer";
  }
}

/** Whether an error is about the service, so that its sentence is for the visitor. @param {unknown} error */
export function isAnswerError(error) {
  return error instanceof ServiceProblem || error instanceof NoAnswer;
}

/** @param {string} root path prefix of the service, "" or "/prefix" */
export function createApi(root) {
  const url = (path) => `${root}${path}`;

  async function request(path, options = {}) {
    let response;
    try {
      response = await fetch(url(path), { headers: { accept: "application/json, application/geo+json" }, ...options });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new NoAnswer(error);
    }
    if (!response.ok) throw new ServiceProblem(await readProblem(response));
    return response.json();
  }

  return {
    url,
    /** Address of a search, the same one a script would call. @param {import("./state.js").State} state */
    searchUrl: (state) => url(`/search${formatState(state, SEARCH_KEYS)}`),
    /** @param {import("./state.js").State} state @param {{offset?: number, explain?: boolean, signal?: AbortSignal}} [options] */
    search(state, { offset = 0, explain = false, signal } = {}) {
      const query = formatState(state, SEARCH_KEYS);
      return request(`/search${query}${offset ? `&offset=${offset}` : ""}${explain ? "&explain=true" : ""}`, { signal });
    },
    /** Rank by likeness to a picture, beside whatever else the state asks. @param {import("./state.js").State} state @param {File} file */
    searchPicture(state, file, { offset = 0, signal } = {}) {
      const body = new FormData();
      body.append("image", file);
      const query = formatState({ ...state, ...(offset && { offset: String(offset) }) }, [...SEARCH_KEYS, "offset"]);
      return request(`/search/image${query}`, { method: "POST", body, signal });
    },
    /** Tiles whose judgement would tell most. @param {import("./state.js").State} state a search with up or down */
    suggest: (state, signal) => request(`/suggest${formatState({ ...state, k: undefined }, SEARCH_KEYS)}&count=4`, { signal }),
    get: (path, signal) => request(path, { signal }),
  };
}

async function readProblem(response) {
  const fallback = { status: response.status, title: `The service answered with status ${response.status}.` };
  try {
    return { ...fallback, ...(await response.json()) };
  } catch {
    return fallback;
  }
}
