() => {
  // What of a page cannot be read: texts of little contrast, and what sticks out of its place.
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 1;
  const brush = canvas.getContext("2d", { willReadFrequently: true });
  const known = new Map();
  const rgba = (colour) => known.get(colour) ?? known.set(colour, drawn(colour)).get(colour);
  const drawn = (colour) => {
    brush.clearRect(0, 0, 1, 1);
    brush.fillStyle = colour;
    brush.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = brush.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, below) =>
    [0, 1, 2].map((at) => top[at] * top[3] + below[at] * (1 - top[3])).concat(1);
  const ground = (element) => {
    if (!element) return [255, 255, 255, 1];
    const own = rgba(getComputedStyle(element).backgroundColor);
    return own[3] === 1 ? own : over(own, ground(element.parentElement));
  };
  // WCAG 2.2: relative luminance, and the contrast of two colours
  const luminance = (colour) => {
    const [r, g, b] = colour.slice(0, 3).map((part) => {
      const share = part / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (one, other) => {
    const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const named = (element) => `${element.tagName}.${element.getAttribute("class") ?? ""}`;
  const holds = (element) =>
    [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  const all = [...document.body.querySelectorAll("*")];
  const texts = all.filter((element) => holds(element) && element.getClientRects().length);
  const pale = texts.flatMap((element) => {
    const below = ground(element);
    const found = contrast(over(rgba(getComputedStyle(element).color), below), below);
    return found < 4.5 ? [`${named(element)}: ${found.toFixed(2)}`] : [];
  });
  const faint = [...document.querySelectorAll("rect.fill, svg.mark")].flatMap((shape) => {
    const style = getComputedStyle(shape);
    const colour = rgba(shape.matches("svg") ? style.stroke : style.fill);
    const found = contrast(colour, ground(shape.parentElement));
    return found < 3 ? [`${named(shape)}: ${found.toFixed(2)}`] : [];
  });
  const root = document.documentElement;
  const outside = all.filter((element) => {
    const box = element.getBoundingClientRect();
    const away = box.right > root.clientWidth + 1 || box.left < -1;
    return away && !element.parentElement.closest(".scroll");
  });
  const cut = all.filter((element) => {
    const style = getComputedStyle(element);
    const hides = style.overflowX === "hidden" || style.overflowX === "clip";
    return hides && element.scrollWidth > element.clientWidth + 1 && element.tagName !== "svg";
  });
  const scrolled = [...document.querySelectorAll(".scroll")].filter(
    (element) => element.scrollWidth > element.clientWidth,
  );
  return {
    texts: texts.length,
    pale,
    faint,
    wide: root.scrollWidth > root.clientWidth,
    outside: outside.map(named),
    cut: cut.map(named),
    scrolled: scrolled.length,
    page: getComputedStyle(document.body).backgroundColor,
  };
}
