// The side panel: a cited passage in its document, with what stands before and after it.

import { element } from "./dom.js";
import { words } from "./words.js";

const MOST = 10; // neighbours on each side, as the service allows
const STEP = 3;
const PICTURE_WIDTH = 1000; // pixels, sharp on a dense screen
const PAGED = /^(application\/pdf$|image\/)/; // kinds of documents that have pages to look at

export class Panel {
  #session;
  #head = element("header", {});
  #body = element("div", { className: "panel-body", tabIndex: 0 });
  #opener = null;
  #picture = null;
  #opened = 0;
  #shown = 0;

  constructor(session) {
    this.#session = session;
    const close = element("button", { type: "button", className: "quiet close", onclick: () => this.close() }, words.close);
    this.root = element("aside", { className: "panel", hidden: true, ariaLabel: words.sources }, close, this.#head, this.#body);
    this.root.addEventListener("keydown", (event) => event.key === "Escape" && this.close());
  }

  async open(citation, opener) {
    this.#opener = opener;
    this.#picture = null;
    const mine = ++this.#opened;
    const about = await this.#show(citation, 1, 1, true);
    if (about && citation.page && PAGED.test(about.media_type)) await this.#draw(citation, mine);
  }

  // The page as it was printed, with the passage marked, below its text. It may come late, or not at all.
  async #draw(citation, mine) {
    const picture = await this.#session.page(citation.document, citation.page, citation.passage, PICTURE_WIDTH).catch(() => null);
    if (!picture || mine !== this.#opened) return;
    const address = URL.createObjectURL(picture);
    this.#picture = element("img", { className: "page", alt: words.pictureOf(citation.page), src: address });
    this.#picture.addEventListener("load", () => URL.revokeObjectURL(address), { once: true });
    this.#body.querySelector(".cited")?.append(this.#picture);
  }

  close() {
    this.root.hidden = true;
    this.#shown += 1;
    this.#opened += 1;
    if (this.#opener?.isConnected) this.#opener.focus();
  }

  // Returns what is known of the document; nothing where it could not be shown.
  async #show(citation, before, after, focus = false) {
    const mine = ++this.#shown;
    let head = [element("h2", { tabIndex: -1 }, citation.title)];
    let content;
    let about;
    try {
      const found = await this.#session.passage(citation.document, citation.passage, before, after);
      head = title(found);
      content = this.#content(citation, found, before, after);
      if (this.#picture) content.find((each) => each.classList.contains("cited"))?.append(this.#picture);
      about = found.document;
    } catch (error) {
      content = [element("p", { className: "problem", role: "alert" }, error.status === 404 ? words.gone : error.message)];
    }
    if (mine !== this.#shown) return undefined; // closed, or another was opened meanwhile
    this.#head.replaceChildren(...head);
    this.#body.replaceChildren(...content);
    this.root.hidden = false;
    if (!focus) return about;
    this.#head.querySelector("h2").focus({ preventScroll: true });
    const mark = this.#body.querySelector("mark");
    this.#body.scrollTop = mark ? mark.offsetTop - this.#body.clientHeight / 4 : 0;
    return about;
  }

  #content(citation, found, before, after) {
    const { document: about, passages } = found;
    const first = passages[0].passage;
    const last = passages.at(-1).passage;
    const more = (label, wider) => element("button", { type: "button", className: "quiet more", onclick: wider }, label);
    const content = [];
    if (first > 1 && before < MOST) {
      content.push(more(words.earlier, () => this.#show(citation, Math.min(before + STEP, MOST), after)));
    }
    const placed = passages.map((each) => ({ ...each, source: about.source }));
    content.push(...placed.map((each, at) => block(each, placed[at - 1], each.passage === found.passage)));
    if (last < about.passages && after < MOST) {
      content.push(more(words.later, () => this.#show(citation, before, Math.min(after + STEP, MOST))));
    }
    return content;
  }
}

const SURE = 0.8; // below, whoever reads recognised characters should look at the page

// Where a passage stands: its page or slide, the headings above it, and whether its characters were hard to recognise.
export function place({ page, heading_path: headings, source, confidence }) {
  const numbered = source.toLowerCase().endsWith(".pptx") ? words.slide : words.page;
  const doubtful = confidence !== null && confidence < SURE;
  return [...(page ? [numbered(page)] : []), ...(headings.length ? [headings.join(" › ")] : []), ...(doubtful ? [words.doubtful] : [])].join(" · ");
}

function title({ document: about, passage }) {
  return [
    element("h2", { tabIndex: -1 }, about.title),
    element("p", { className: "place" }, words.passage(passage, about.passages)),
    element("p", { className: "uri" }, decoded(about.source)),
  ];
}

function block(passage, previous, cited) {
  const where = above(passage);
  const heading = where && (!previous || above(previous) !== where) ? [element("h3", {}, where)] : [];
  const text = cited ? element("mark", {}, passage.text) : passage.text;
  return element("section", { className: cited ? "passage cited" : "passage", lang: passage.language }, ...heading, element("p", {}, text));
}

// The file that another one came in, attached or packed; nothing for one that came by itself.
export function container(source) {
  const outer = source.split("!/", 1)[0];
  return outer === source ? "" : words.inside(decoded(outer.slice(outer.lastIndexOf("/") + 1)));
}

// As `place`, without a heading that the text itself begins with.
function above({ page, heading_path: headings, source, text, confidence }) {
  const begins = headings.length > 0 && text.startsWith(headings.at(-1));
  return place({ page, heading_path: begins ? headings.slice(0, -1) : headings, source, confidence });
}

function decoded(uri) {
  try {
    return decodeURI(uri);
  } catch {
    return uri;
  }
}
