// The images of one method from best to worst, with filters.
const Gallery = (() => {
  const { make, find, choice } = Page;
  const { methods, metrics, images, photographs } = Page.data;
  const PART = 12;
  const chosen = { method: methods[0], metric: metrics[0].name, order: "best", of: "", right: "", apart: "" };
  const higher = Object.fromEntries(metrics.map((metric) => [metric.name, metric.higher]));
  const named = (row, index) => (row.names[index] ?? `class ${index}`);
  let shown = [], count = PART, listener = () => {}, current = null;

  const value = (row) => row.values[chosen.metric][methods.indexOf(chosen.method)];

  // Is the prediction right? In words and a sign, with the classes.
  function truth(row) {
    if (row.predicted === null) return make("span", { class: "soft" }, `image ${row.image}`);
    const predicted = named(row, row.predicted);
    if (row.right === null || row.right === undefined) return make("span", { class: "soft" }, `predicted ${predicted}`);
    if (row.right) return make("span", { class: "right" }, `✓ ${predicted}`);
    return make("span", { class: "wrong" }, `✗ ${predicted} (true: ${row.labels.map((index) => named(row, index)).join(", ") || "none"})`);
  }

  function card(row) {
    const canvas = make("canvas", { width: 64, height: 64 }), number = Report.value(value(row), chosen.metric);
    const press = () => listener(row, true);
    const explained = row.class === row.predicted ? null : make("span", {}, `explains ${named(row, row.class)}`);
    const button = make("button", { type: "button", class: "card", "aria-pressed": row === current, click: press, "data-image": row.image, "aria-label": `image ${row.image}, ${chosen.metric} ${number}; compare two methods` },
      canvas, make("span", { class: "value" }, number), truth(row), explained, make("span", { class: "soft" }, `image ${row.image}`));
    Maps.photograph(photographs[row.image].photograph).then((image) => Maps.paint(canvas, image, row.maps[chosen.method]));
    return button;
  }

  function draw() {
    const limit = images.map((row) => row.disagreement).filter((x) => x !== null).sort((a, b) => b - a)[Math.floor(images.length / 4)];
    shown = images.filter((row) =>
      row.maps[chosen.method] &&
      (chosen.of === "" || row.class === Number(chosen.of)) &&
      (chosen.right === "" || row.right === (chosen.right === "right")) &&
      (chosen.apart === "" || row.disagreement >= limit));
    const sign = (chosen.order === "best") === higher[chosen.metric] ? -1 : 1;
    const last = (x) => (x === null || x === undefined ? Infinity : x);
    if (chosen.order === "apart") shown.sort((a, b) => last(-a.disagreement) - last(-b.disagreement));
    else shown.sort((a, b) => (value(a) === null) - (value(b) === null) || sign * (value(a) - value(b)) || a.image - b.image);
    const part = shown.slice(0, count);
    find("#gallery").replaceChildren(...part.map(card));
    find("#count").textContent = `${part.length} of ${shown.length} shown, ${chosen.method}, ${{ best: `best ${chosen.metric} first`, worst: `worst ${chosen.metric} first`, apart: "where the methods disagree most first" }[chosen.order]}`;
    find("#more").hidden = part.length === shown.length;
  }

  function filters() {
    const set = (name) => (to) => {
      chosen[name] = to;
      count = PART;
      draw();
    };
    const classes = [...new Map(images.map((row) => [row.class, named(row, row.class)]))].sort((a, b) => a[1].localeCompare(b[1]));
    const box = find("#filters");
    box.append(choice("Method", methods.map((name) => [name, name]), set("method"), chosen.method));
    box.append(choice("By", metrics.map((metric) => [metric.name, `${metric.name} ${Report.arrow(metric)}`]), set("metric"), chosen.metric));
    const orders = [["best", "best first"], ["worst", "worst first"], ...(methods.length > 1 ? [["apart", "most disagreement first"]] : [])];
    box.append(choice("Order", orders, set("order"), chosen.order));
    if (classes.length > 1) box.append(choice("Explained class", [["", "all"], ...classes], set("of"), ""));
    if (images.some((row) => row.right !== null)) box.append(choice("Prediction", [["", "all"], ["right", "✓ right"], ["wrong", "✗ wrong"]], set("right"), ""));
    if (methods.length > 1) box.append(choice("Methods", [["", "all images"], ["apart", "disagree most (a quarter)"]], set("apart"), ""));
    ["method", "metric", "order", "of", "right", "apart"].forEach((name) => {
      const label = { method: "Method", metric: "By", order: "Order", of: "Explained class", right: "Prediction", apart: "Methods" }[name];
      for (const one of box.children) if (one.firstChild.textContent === label) one.lastChild.id = `filter-${name}`;
    });
  }

  if (images.length) {
    filters();
    find("#more").addEventListener("click", () => {
      count += 2 * PART;
      draw();
    });
    draw();
  }
  return {
    named, truth,
    first: () => shown[0],
    // The row after or before this one in the order that is shown.
    beside: (row, step) => shown[(shown.indexOf(row) + step + shown.length) % shown.length],
    listen: (to) => (listener = to),
    mark(row) {
      current = row;
      for (const one of find("#gallery").children) one.setAttribute("aria-pressed", shown[[...find("#gallery").children].indexOf(one)] === row);
    },
  };
})();
