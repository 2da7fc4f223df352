// The table, the words under it, the critical differences and the mean curves.
const Report = (() => {
  const { make, find, number } = Page;
  const { methods, metrics, cells, cost, words, ranks, curves, regression } = Page.data;
  const styles = Object.fromEntries(methods.map((name, i) => [name, i]));
  const digits = Object.fromEntries(metrics.map((metric) => [metric.name, metric.digits]));
  const arrow = (metric) => (metric.higher ? "↑" : "↓");
  const value = (x, metric) => number(x, digits[metric]);
  const signed = (x, places) => (Number(x.toFixed(places)) > 0 ? "+" : "") + number(x, places);
  const most = Math.max(...methods.flatMap((method) => metrics.map((metric) => cells[method][metric.name].n)));

  // What the comparison of a method with the best one shows.
  function word(method, metric) {
    const { best, against } = words[metric];
    if (best === null || methods.length < 2 || cells[method][metric].mean === null) return "";
    if (method === best) return "best mean";
    return { none: `no difference shown to ${best}`, worse: `worse than ${best}`, better: `better than ${best} in the test` }[against[method].shown];
  }

  const columns = [
    { key: "method", title: "Method", of: (method) => method, up: true },
    ...metrics.map((metric) => ({ key: metric.name, title: `${metric.name} ${arrow(metric)}`, about: metric.about, of: (method) => cells[method][metric.name].mean, up: !metric.higher, metric })),
    { key: "cost", title: "cost ↓", about: "Mean time of a map.", of: (method) => cost[method].seconds_per_image, up: true },
  ];
  let sorted = columns[1], up = sorted.up;

  function cell(method, column) {
    if (!column.metric) {
      const short = (x) => (x === null ? "–" : Number(x.toPrecision(2)).toString());
      return make("td", {}, make("span", { class: "mean" }, `${short(cost[method].seconds_per_image)} s`), make("span", { class: "interval" }, `a map, ${short(cost[method].forward_passes)} forward passes`));
    }
    const name = column.key, one = cells[method][name], said = word(method, name);
    const few = one.n === most ? "" : ` (n = ${one.n})`;
    const ends = one.low === null || one.low === undefined ? few.trim() : `${value(one.low, name)} to ${value(one.high, name)}${few}`;
    return make("td", { class: words[name].best === method && methods.length > 1 ? "best" : null },
      make("span", { class: "mean" }, one.mean === null ? "not defined" : value(one.mean, name) + (column.metric.unit && " %")),
      make("span", { class: "interval" }, ends), make("span", { class: "word" }, said));
  }

  function draw() {
    const order = [...methods].sort((a, b) => {
      const [x, y] = [sorted.of(a), sorted.of(b)];
      if (x === null || y === null) return (x === null) - (y === null);
      return (x < y ? -1 : x > y ? 1 : 0) * (up ? 1 : -1);
    });
    const heads = columns.map((column) => {
      const mine = column === sorted;
      const press = () => {
        up = column === sorted ? !up : column.up;
        sorted = column;
        draw();
        find(`#results [data-key="${CSS.escape(column.key)}"]`).focus();
      };
      const button = make("button", { type: "button", title: column.about, "data-key": column.key, click: press }, column.title, make("span", { "aria-hidden": "true" }, mine ? (up ? " ▲" : " ▼") : ""));
      return make("th", { scope: "col", "aria-sort": mine ? (up ? "ascending" : "descending") : "none" }, button);
    });
    const body = order.map((method) => make("tr", {}, make("th", { scope: "row" }, method), ...columns.slice(1).map((column) => cell(method, column))));
    find("#results").replaceChildren(make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...body));
  }

  function sentence(metric) {
    const { best, against } = words[metric.name], places = metric.digits + 1;
    const start = [make("b", {}, metric.name), ` (${metric.higher ? "higher" : "lower"} is better): `];
    if (best === null) return make("li", {}, ...start, "it is not defined for these images.");
    const said = (name) => {
      const one = against[name], ends = one.low === null ? "" : `, ${signed(one.low, places)} to ${signed(one.high, places)}`;
      return `${name} (${signed(one.difference, places)}${ends})`;
    };
    const those = (shown) => methods.filter((name) => against[name] && against[name].shown === shown).map(said).join(", ");
    const parts = [`${best} has the best mean, ${value(cells[best][metric.name].mean, metric.name)}${metric.unit && " %"}. `];
    if (those("none")) parts.push(`No difference to it is shown for ${those("none")}. `);
    if (those("worse")) parts.push(`Worse: ${those("worse")}. `);
    if (those("better")) parts.push(`Better on most images, though not in the mean: ${those("better")}.`);
    return make("li", {}, ...start, ...parts);
  }

  // Mean ranks with bars as wide as the critical difference, one line for each method.
  function rankChart(box, metric, { places, images, difference }) {
    const frame = make("div", { class: "chart" });
    box.append(make("h3", {}, `${metric.name} ${arrow(metric)}`), frame);
    Charts.redrawn(frame, (width) => {
      const letters = Math.max(...places.map(([name]) => name.length)), left = Math.min(8 * letters + 12, width * 0.42), right = width - 52;
      const row = 30, height = places.length * row + 46, ends = [1 - difference / 2, methods.length + difference / 2];
      const across = (rank) => left + 8 + ((rank - ends[0]) / (ends[1] - ends[0])) * (right - left - 8);
      const text = places.map(([name, rank]) => `${name} ${number(rank, 2)}`).join(", ");
      const svg = make("svg", { width, height, role: "img", "aria-label": `Mean ranks by ${metric.name} over ${images} images: ${text}. Critical difference ${number(difference, 2)}.` });
      const best = places[0][1];
      svg.append(make("rect", { class: "span", x: across(best - difference / 2), width: across(best + difference / 2) - across(best - difference / 2), y: 0, height: places.length * row }));
      for (let rank = 1; rank <= methods.length; rank += 1 + Math.floor(methods.length / 12)) {
        svg.append(make("line", { class: "grid", x1: across(rank), x2: across(rank), y1: 0, y2: places.length * row }));
        svg.append(make("text", { class: "tick", x: across(rank), y: places.length * row + 16, "text-anchor": "middle" }, String(rank)));
      }
      places.forEach(([name, rank], i) => {
        const y = (i + 0.5) * row, fits = Math.floor(left / 8);
        svg.append(make("text", { class: "name", x: left, y: y + 5, "text-anchor": "end" }, name.length > fits ? `${name.slice(0, fits - 1)}…` : name, make("title", {}, name)));
        svg.append(make("line", { class: `whisker c${styles[name] % 8}`, x1: across(rank - difference / 2), x2: across(rank + difference / 2), y1: y, y2: y }));
        svg.append(make("circle", { class: "point", cx: across(rank), cy: y, r: 4 }));
        svg.append(make("text", { class: "tick", x: width - 4, y: y + 4, "text-anchor": "end" }, number(rank, 2)));
      });
      svg.append(make("text", { class: "label", x: left + 8, y: height - 6 }, `mean rank, critical difference ${number(difference, 2)}`));
      frame.replaceChildren(svg);
    });
  }

  draw();
  find("#words").append(...(methods.length > 1 ? metrics.map(sentence) : []));
  if (methods.length < 2) find("#words").previousElementSibling.hidden = true;
  const ranked = metrics.filter((metric) => ranks[metric.name]);
  find("#ranks").hidden = !ranked.length;
  for (const metric of ranked) rankChart(find("#rank-charts").appendChild(make("div")), metric, ranks[metric.name]);
  const drawn = methods.filter((name) => curves[name]);
  if (!drawn.length) find("#curves").hidden = true;
  else
    ["deletion", "insertion"].forEach((title, which) => {
      const box = find("#curve-charts").appendChild(make("div", {}, make("h3", {}, `${title} ${which ? "↑" : "↓"}`)));
      const x = curves[drawn[0]][which].map((_, i, all) => (100 * i) / (all.length - 1));
      const series = drawn.map((name) => ({ name, y: curves[name][which], style: styles[name] }));
      Charts.lines(box, { x, series, title, xLabel: which ? "pixels shown (%)" : "pixels removed (%)", yLabel: regression ? "value" : "probability", from: regression ? null : 0 });
    });
  for (const link of document.querySelectorAll("nav.parts a")) link.hidden = find(link.getAttribute("href")).hidden;
  return { styles, value, arrow };
})();
