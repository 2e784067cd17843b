/** Light and dark: the system's choice until the visitor makes one, which is remembered on this device. */

const KEY = "wildsat-theme";

/** @param {HTMLElement} button */
export function installTheme(button) {
  button.addEventListener("click", () => {
    const shown =
      document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
    const theme = shown === "dark" ? "light" : "dark";
    document.documentElement.dataset.theme = theme;
    try {
      localStorage.setItem(KEY, theme);
    } catch {
      // Storage is switched off: the choice lasts as long as the page.
    }
  });
}
