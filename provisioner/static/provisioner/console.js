"use strict";
// Settings of htmx and Alpine.js, which unfold brings, and what they lack.

// the content security policy allows no style and no code in pages
htmx.config.includeIndicatorStyles = false;
htmx.config.allowEval = false;

// what unfold lets only a mouse press gets a place in the order of the tab key, and a role
const PRESSED = "[x-on\\:click]:not(a[href], button, input, select, textarea, form)";

function reachable(root) {
  for (const element of root.querySelectorAll(PRESSED)) {
    if (element.id === "changelist-filter-close" || element.hasAttribute("tabindex")) continue;
    element.tabIndex = 0;
    element.setAttribute("role", "button");
    if (!element.textContent.trim() || element.matches(".material-symbols-outlined"))
      element.setAttribute("aria-label", element.textContent.trim().replaceAll("_", " "));
  }
}

document.addEventListener("DOMContentLoaded", () => reachable(document));
document.addEventListener("htmx:afterSwap", (event) => reachable(event.target));
document.addEventListener("keydown", (event) => {
  const element = event.target;
  if (!["Enter", " "].includes(event.key) || !(element instanceof HTMLElement)) return;
  if (element.matches(PRESSED)) {
    event.preventDefault();
    element.click();
  }
});
