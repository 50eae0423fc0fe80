// Elements that are made once, and changed only where they differ.

/** Return an element. Functions are listeners; null and false leave an attribute out. */
export function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** Return an element of SVG. */
export function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  return fill(node, attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else setAttribute(node, name, value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

/** Set the text of an element that has nothing but text. */
export function setText(node, text) {
  if (!node.firstChild) node.append("");
  if (node.firstChild.nodeValue !== text) node.firstChild.nodeValue = text;
}

/** Set an attribute; null and false remove it, true leaves it empty. */
export function setAttribute(node, name, value) {
  const text = value === true ? "" : value;
  if (text === null || text === undefined || text === false) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
  } else if (node.getAttribute(name) !== String(text)) {
    node.setAttribute(name, text);
  }
}

/** Show text in an element that is hidden while there is none. */
export function showText(node, text) {
  setText(node, text ?? "");
  setAttribute(node, "hidden", !text);
}

/** The children of an element, one for each item of a list that changes. */
export class Rows {
  #parent;
  #keyOf;
  #make;
  #rows = new Map();

  /** `make` returns `{node, update}` for an item, `keyOf` what tells it from others. */
  constructor(parent, keyOf, make) {
    this.#parent = parent;
    this.#keyOf = keyOf;
    this.#make = make;
  }

  /** Show these items in this order. What has the focus keeps it. */
  show(items) {
    const focused = document.activeElement;
    const wanted = new Set(items.map(this.#keyOf));
    for (const [key, row] of this.#rows) {
      if (!wanted.has(key)) {
        row.node.remove();
        this.#rows.delete(key);
      }
    }
    let place = this.#parent.firstChild;
    for (const item of items) {
      const { node } = this.#row(item);
      if (node === place) place = place.nextSibling;
      else this.#parent.insertBefore(node, place);
    }
    // A node that is moved loses the focus.
    if (focused !== document.activeElement && focused?.isConnected) {
      focused.focus({ preventScroll: true });
    }
  }

  #row(item) {
    const key = this.#keyOf(item);
    if (!this.#rows.has(key)) this.#rows.set(key, this.#make(item));
    const row = this.#rows.get(key);
    row.update(item);
    return row;
  }
}
