// Helpers that all pages share. Text from an audit goes into a page through textContent and attributes only.
"use strict";
const golf = {};

/** An element with attributes and children; strings become text. */
golf.el = function (name, attributes, ...children) {
  return golf.fill(document.createElement(name), attributes, children);
};

/** The same for SVG. */
golf.svg = function (name, attributes, ...children) {
  return golf.fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
};

golf.fill = function (element, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "onclick" || name === "onchange" || name === "oninput") {
      element.addEventListener(name.slice(2), value);
    } else {
      element.setAttribute(name, value === true ? "" : value);
    }
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
};

/** The data of the page. */
golf.data = function () {
  const block = document.getElementById("data");
  return block ? JSON.parse(block.textContent) : null;
};

/** A whole number with a comma between groups of three digits, whatever the browser's language. */
golf.group = function (number) {
  const digits = String(Math.abs(number)).replace(/\B(?=(\d{3})+$)/g, ",");
  return number < 0 ? "−" + digits : digits;
};

/** Up to so many decimals, without zeros that say nothing. */
golf.short = function (number, decimals) {
  return String(Number(number.toFixed(decimals)));
};

/** Hands a file to the reader. */
golf.save = function (name, type, text) {
  const link = golf.el("a", { href: URL.createObjectURL(new Blob([text], { type })), download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
};

/** A box that follows what is pointed at. */
golf.tip = function (plot) {
  const box = golf.el("div", { class: "tip", hidden: true });
  plot.append(box);
  return {
    show(text, x, y) {
      box.textContent = text;
      box.hidden = false;
      const left = Math.min(Math.max(0, x + 12), Math.max(0, plot.clientWidth - box.offsetWidth));
      const top = y - box.offsetHeight - 12 < 0 ? y + 16 : y - box.offsetHeight - 12;
      box.style.transform = "translate(" + left + "px," + top + "px)";
    },
    hide() {
      box.hidden = true;
    },
  };
};

// Dark or light: as the system is, until the reader chooses.
(function () {
  const root = document.documentElement;
  const remembered = function (value) {
    try {
      if (value) localStorage.setItem("golf-harness-theme", value);
      return localStorage.getItem("golf-harness-theme");
    } catch (error) {
      return value; // Without storage the choice lasts as long as the page.
    }
  };
  const theme = remembered();
  if (theme === "dark" || theme === "light") root.dataset.theme = theme;
  document.addEventListener("click", (event) => {
    if (!event.target.closest("[data-theme-button]")) return;
    const isDark = root.dataset.theme
      ? root.dataset.theme === "dark"
      : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = remembered(isDark ? "light" : "dark") || (isDark ? "light" : "dark");
  });
})();
