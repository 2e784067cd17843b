// Runs before the first paint, so that nothing that was chosen on this device flashes or moves. Not a module, since
// modules wait for the page. What may be kept is listed here once: an attribute of the root, and its values.
(() => {
  const choices = { theme: ["light", "dark"], density: ["list", "grid"], colours: ["stretched", "true"] };
  const { dataset, classList } = document.documentElement;
  for (const [name, values] of Object.entries(choices)) {
    try {
      const kept = localStorage.getItem(`wildsat-${name}`);
      if (kept && values.includes(kept)) dataset[name] = kept;
    } catch {
      // Storage is switched off: nothing was chosen.
    }
  }
  classList.add("has-script");
})();
