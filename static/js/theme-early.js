// Runs before the first paint, so that a chosen theme does not flash. Not a module, since modules wait for the page.
(() => {
  try {
    const theme = localStorage.getItem("wildsat-theme");
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  } catch {
    // Storage is switched off: the system's theme is used.
  }
  document.documentElement.classList.add("has-script");
})();
