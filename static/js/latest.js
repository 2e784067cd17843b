/** Only the newest task counts: starting one aborts the one before, whose result is dropped even if it comes. Pure. */

/** @returns {{run: <T>(task: (signal: AbortSignal) => Promise<T>) => Promise<T | null>, stop: () => void, busy: () => boolean}} run gives null for a task that was overtaken */
export function createLatest() {
  let current = null;
  return {
    async run(task) {
      current?.abort();
      const mine = new AbortController();
      current = mine;
      try {
        const value = await task(mine.signal);
        return current === mine ? value : null;
      } catch (error) {
        if (current !== mine || error.name === "AbortError") return null;
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
