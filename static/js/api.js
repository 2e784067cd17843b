/** The only file that speaks HTTP. "No answer" and "an answer we did not want" differ; both carry a sentence. */

import { formatChanges, formatSearch, patchState } from "./state.js";

/**
 * @typedef {{
 *   tile_id: string, lon: number, lat: number, captured_on: string | null, cloud_cover: number | null, gsd_m: number,
 *   source: string, country: string | null, country_name: string | null, place: string, thumbnail: string,
 *   similar: string, rank: number, score: number, percentile?: number, fit?: string, shares?: Share[],
 *   difference?: number, before?: TileProperties,
 * }} TileProperties rank, score and percentile are those of a hit; difference and before those of a place on two days
 * @typedef {{
 *   type: "Feature", id: string, bbox?: import("./geo.js").BBox, geometry: import("geojson").Geometry,
 *   properties: TileProperties,
 * }} Tile
 * @typedef {{id: string, kind: string, words: string, meaning: string, say: string}} Found read from words
 * @typedef {{term: string, space: string, value: number}} Share what one term gave to a score through one space
 * @typedef {{
 *   query: import("./state.js").State, matched: number, total: number, returned: number, no_match: boolean,
 *   timings_ms: Record<string, number>, features: Tile[],
 *   understood?: {found: Found[], suggestion: string | null, message: string | null} | null,
 * }} Answer
 * @typedef {ReturnType<typeof createApi>} Api
 */

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

/** Whether a request was given up by the page itself. @param {unknown} error */
export function isAbort(error) {
  return error instanceof Error && error.name === "AbortError";
}

/** @param {string} root path prefix of the service, "" or "/prefix" */
export function createApi(root) {
  const url = (path) => `${root}${path}`;

  async function request(path, options = {}) {
    let response;
    try {
      response = await fetch(url(path), { headers: { accept: "application/json, application/geo+json" }, ...options });
    } catch (error) {
      if (isAbort(error)) throw error;
      throw new NoAnswer(error);
    }
    if (!response.ok) throw new ServiceProblem(await readProblem(response));
    return response.json();
  }

  return {
    url,
    /**
     * @param {import("./state.js").State} state
     * @param {{offset?: number, explain?: boolean, signal?: AbortSignal}} [options]
     * @returns {Promise<Answer>}
     */
    search(state, { offset = 0, explain = false, signal } = {}) {
      const asked = explain ? patchState(state, { explain: "true" }) : state;
      return request(`/search${formatSearch(further(asked, offset))}`, { signal });
    },
    /**
     * Places on two days, as their later tile with the earlier one beside it.
     *
     * @param {import("./state.js").State} state
     * @param {{offset?: number, signal?: AbortSignal}} [options]
     * @returns {Promise<Answer>}
     */
    async changes(state, { offset = 0, signal } = {}) {
      const found = await request(`/changes${formatChanges(further(state, offset))}`, { signal });
      const features = found.features.map(({ properties: { rank, difference, before, after }, ...place }) => ({
        ...place,
        properties: { ...after, rank, difference, before },
      }));
      return { ...found, features };
    },
    /** Address of what is asked, the same one a script would call. @param {import("./state.js").State} state */
    askedUrl: (state) => url(state.changes ? `/changes${formatChanges(state)}` : `/search${formatSearch(state)}`),
    /**
     * Rank by likeness to a picture, beside whatever else the state asks.
     *
     * @param {import("./state.js").State} state
     * @param {File} file
     * @param {{offset?: number, signal?: AbortSignal}} [options]
     * @returns {Promise<Answer>}
     */
    searchPicture(state, file, { offset = 0, signal } = {}) {
      const body = new FormData();
      body.append("image", file);
      return request(`/search/image${formatSearch(further(state, offset))}`, { method: "POST", body, signal });
    },
    /**
     * Tiles whose judgement would tell most.
     *
     * @param {import("./state.js").State} state a search with up or down
     * @param {AbortSignal} [signal]
     * @returns {Promise<{features: Tile[]}>}
     */
    suggest: (state, signal) => request(`/suggest${formatSearch(patchState(state, { k: null }))}&count=4`, { signal }),
    /** @param {string} path @param {AbortSignal} [signal] */
    get: (path, signal) => request(path, { signal }),
  };
}

/** The same search from further down. @param {import("./state.js").State} state @param {number} hits to skip more */
const further = (state, hits) => patchState(state, { offset: Number(state.offset ?? 0) + hits || null });

/** @param {Response} response @returns {Promise<{status: number, title: string}>} */
async function readProblem(response) {
  const fallback = { status: response.status, title: `The service answered with status ${response.status}.` };
  try {
    return { ...fallback, ...(await response.json()) };
  } catch {
    return fallback;
  }
}
