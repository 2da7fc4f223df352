// Maps are bytes {width, height, bytes, signed, fine, full}; they are coloured here, over a photograph.
const Maps = (() => {
  const decode = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const { alpha, steepness } = Page.data.colours;
  const tables = { true: decode(Page.data.colours.diverging), false: decode(Page.data.colours.sequential) };
  const photographs = new Map();

  // The photograph of a "data:" address, decoded once.
  function photograph(address) {
    if (!photographs.has(address)) {
      const image = new Image();
      image.src = address;
      photographs.set(address, image.decode().then(() => image));
    }
    return photographs.get(address);
  }

  // For each new pixel of one axis: the two old pixels around its centre, and the weight of the second.
  function between(length, size) {
    const first = new Int32Array(size), second = new Int32Array(size), weight = new Float32Array(size);
    for (let i = 0; i < size; i++) {
      const place = Math.min(Math.max(((i + 0.5) * length) / size - 0.5, 0), length - 1);
      first[i] = Math.floor(place);
      second[i] = Math.min(first[i] + 1, length - 1);
      weight[i] = place - first[i];
    }
    return { first, second, weight };
  }

  // The values of a map at another size, 0 to 255, by linear interpolation of the values (not of the colours).
  function resized(map, width, height) {
    const bytes = decode(map.bytes), x = between(map.width, width), y = between(map.height, height);
    const values = new Float32Array(width * height);
    for (let row = 0, at = 0; row < height; row++) {
      const above = y.first[row] * map.width, below = y.second[row] * map.width, down = y.weight[row];
      for (let column = 0; column < width; column++, at++) {
        const left = x.first[column], right = x.second[column], along = x.weight[column];
        const top = bytes[above + left] + along * (bytes[above + right] - bytes[above + left]);
        const bottom = bytes[below + left] + along * (bytes[below + right] - bytes[below + left]);
        values[at] = top + down * (bottom - top);
      }
    }
    return values;
  }

  // Draw the photograph and the map over it. strength: 0 shows the photograph alone, 1 the full colours.
  function paint(canvas, image, map, strength = 1) {
    const width = (canvas.width = image.naturalWidth), height = (canvas.height = image.naturalHeight);
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0);
    if (!map || strength === 0) return;
    const pixels = context.getImageData(0, 0, width, height), data = pixels.data;
    const values = resized(map, width, height), table = tables[map.signed];
    const zero = map.signed ? 128 : 0, range = (map.signed ? 127 : 255) * map.full;
    for (let i = 0, at = 0; i < values.length; i++, at += 4) {
      const value = Math.min(Math.max((values[i] - zero) / range, map.signed ? -1 : 0), 1);
      const share = strength * Math.abs(value) ** steepness, cover = alpha * share;
      const colour = 3 * Math.round(255 * (map.signed ? (value + 1) / 2 : value));
      const grey = 0.299 * data[at] + 0.587 * data[at + 1] + 0.114 * data[at + 2];
      for (let channel = 0; channel < 3; channel++) {
        const base = data[at + channel] + share * (grey - data[at + channel]);
        data[at + channel] = base + cover * (table[colour + channel] - base);
      }
    }
    context.putImageData(pixels, 0, 0);
  }

  // The turn of each pixel when the pixels are taken in decreasing order of the map; equal ones row by row.
  function turns(map, width, height) {
    const values = resized(map, width, height);
    const order = Uint32Array.from(values.keys()).sort((a, b) => values[b] - values[a] || a - b);
    const turn = new Uint32Array(order.length);
    order.forEach((pixel, place) => (turn[pixel] = place));
    return turn;
  }

  // A bar that shows the colours from low to high values.
  function bar(signed) {
    const canvas = Page.make("canvas", { class: "bar", width: 256, height: 1, "aria-hidden": "true" });
    const context = canvas.getContext("2d"), pixels = context.createImageData(256, 1), table = tables[signed];
    for (let i = 0; i < 256; i++) {
      const value = signed ? (2 * i) / 255 - 1 : i / 255;
      pixels.data.set([table[3 * i], table[3 * i + 1], table[3 * i + 2], 255 * Math.abs(value) ** steepness], 4 * i);
    }
    context.putImageData(pixels, 0, 0);
    const [first, last] = signed ? ["against the class", "for it"] : ["low", "high"];
    return Page.make("span", { class: "colourbar" }, first, canvas, last);
  }

  return { photograph, resized, paint, turns, bar };
})();
