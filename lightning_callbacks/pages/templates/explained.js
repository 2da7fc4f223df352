// The maps of every image and class; one slider for their strength, and a search for files and classes.
(() => {
  const { make, find } = Page;
  const { images, columns } = Page.data;
  let strength = 1;

  function card({ file, photograph, classes }) {
    const loaded = Maps.photograph(photograph);
    const painted = [];
    const cell = (name, map) => {
      const canvas = make("canvas", { role: "img", "aria-label": name });
      painted.push(async () => Maps.paint(canvas, await loaded, map, strength));
      return make("figure", {}, canvas, make("figcaption", {}, name));
    };
    const rows = classes.flatMap(({ caption, maps }) => [
      make("span", {}, caption),
      make("div", { class: "cells" }, cell(file, null), ...columns.map((name) => cell(name, maps[name]))),
    ]);
    const element = make("article", { class: "card" }, make("b", {}, file), ...rows);
    const text = [file, ...classes.map((one) => one.caption)].join(" ").toLowerCase();
    return { element, text, paint: () => painted.forEach((draw) => draw()) };
  }

  const cards = images.map(card);
  const paint = () => cards.forEach((one) => one.element.hidden || one.paint());
  find("#cards").classList.toggle("few", columns.length < 3);
  find("#cards").append(...cards.map((one) => one.element));
  const slider = make("input", { type: "range", min: 0, max: 100, value: 100, input: () => { strength = slider.value / 100; paint(); } });
  const search = make("input", { type: "search", input: () => {
    for (const one of cards) one.element.hidden = !one.text.includes(search.value.toLowerCase());
    paint();
  } });
  find("#controls").append(
    make("label", { class: "choice" }, make("span", {}, "strength of the maps"), slider),
    make("label", { class: "choice" }, make("span", {}, "find a file or a class"), search),
    Maps.bar(false),
  );
  paint();
})();
