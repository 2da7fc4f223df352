"use strict";
// The data of the page, and how scripts make elements. Text is never read as HTML.
const Page = {
  data: JSON.parse(document.getElementById("data").textContent),
  find: (selector, within = document) => within.querySelector(selector),
  // make("button", {class: "x", type: "button"}, "text", other element, …); a function is a listener: {click: f}
  make(tag, attributes = {}, ...children) {
    const vector = ["svg", "g", "path", "line", "text", "circle", "rect", "title", "polyline"].includes(tag);
    const element = vector ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (typeof value === "function") element.addEventListener(name, value);
      else if (value === true) element.setAttribute(name, "");
      else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
    }
    element.append(...children.filter((child) => child !== null && child !== undefined));
    return element;
  },
  // A labelled choice. options: [[value, text], …]
  choice(label, options, onChange, chosen) {
    const select = Page.make("select", { change: () => onChange(select.value) });
    for (const [value, text] of options) select.append(Page.make("option", { value, selected: String(value) === String(chosen) }, text));
    return Page.make("label", { class: "choice" }, Page.make("span", {}, label), select);
  },
  // A number with a true minus sign, and none before a zero.
  number: (value, digits = 3) => (value === null || value === undefined ? "–" : value.toFixed(digits).replace(/^-(?=.*[1-9])/, "−").replace("-", "")),
};
