/** Only the newest task counts: starting one aborts the one before, whose result is dropped even if it comes. Pure. */

export function createLatest() {
  /** @type {AbortController | null} */
  let current = null;
  return {
    /**
     * @template T
     * @param {(signal: AbortSignal) => Promise<T>} task
     * @returns {Promise<T | null>} null for a task that was overtaken
     */
    async run(task) {
      current?.abort();
      const mine = new AbortController();
      current = mine;
      try {
        const value = await task(mine.signal);
        return current === mine ? value : null;
      } catch (error) {
        if (current !== mine || /** @type {Error} */ (error).name === "AbortError") return null;
        throw error;
      } finally {
        if (current === mine) current = null;
      }
    },
    stop() {
      current?.abort();
      current = null;
    },
    busy: () => current !== null,
  };
}
