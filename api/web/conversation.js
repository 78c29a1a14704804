// Asking: the composer, and the questions and answers so far.

import { element } from "./dom.js";
import { Panel, container, place } from "./panel.js";
import { words } from "./words.js";

const REMEMBERED = 20; // earlier messages sent along, so that a follow-up is understood

export class Conversation {
  #session;
  #messages = [];
  #asking = null;
  #composer;
  #log = element("div", { className: "log", role: "log", ariaLive: "polite" });
  #box = element("textarea", { id: "question", rows: 1, maxLength: 8000, placeholder: words.question, enterKeyHint: "send" });
  #button = element("button", { type: "submit", className: "primary" }, words.send);

  constructor(session, draft = "") {
    this.#session = session;
    this.#box.value = draft;
    this.panel = new Panel(session);
    this.#box.addEventListener("keydown", (event) => this.#pressed(event));
    this.#box.addEventListener("input", () => this.#grow());
    const label = element("label", { htmlFor: "question", className: "unseen" }, words.question);
    const keys = element("p", { className: "keys" }, words.keys);
    this.#composer = element("form", { className: "composer", onsubmit: (event) => this.#submitted(event) }, label, this.#box, this.#button);
    this.#log.append(element("div", { className: "start" }, element("h2", {}, words.start), element("p", {}, words.startHint)));
    const column = element("div", { className: "column" }, this.#log, element("div", { className: "foot" }, this.#composer, keys));
    this.root = element("div", { className: "conversation" }, column, this.panel.root);
  }

  focus() {
    this.#box.focus();
  }

  // The question that is typed and not answered.
  get draft() {
    return this.#box.value;
  }

  end() {
    this.#asking?.abort();
    this.#messages = [];
  }

  // Nothing can be asked until `resume`; what was said and what is typed stays.
  suspend(...notice) {
    this.resume();
    this.#button.disabled = true;
    this.#composer.before(element("div", { className: "suspended", role: "alert" }, ...notice));
  }

  resume() {
    this.#button.disabled = false;
    this.root.querySelector(".suspended")?.remove();
  }

  #pressed(event) {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    if (!this.#asking && !this.#button.disabled) this.#ask();
  }

  #submitted(event) {
    event.preventDefault();
    if (this.#asking) this.#asking.abort();
    else this.#ask();
  }

  #grow() {
    this.#box.rows = Math.min(6, this.#box.value.split("\n").length);
  }

  async #ask() {
    const question = this.#box.value.trim();
    if (!question) return;
    this.#box.value = "";
    this.#grow();
    this.#log.querySelector(".start")?.remove();
    const text = element("div", { className: "text" }, element("span", { className: "waiting" }, words.searching));
    const answer = element("article", { className: "answer", ariaBusy: "true" }, text);
    const asked = element("article", { className: "asked" }, element("h2", { className: "unseen" }, words.you), element("p", {}, question));
    this.#log.append(asked, answer);
    answer.scrollIntoView({ block: "nearest" });
    this.#messages.push({ role: "user", content: question });
    this.#busy(new AbortController());
    try {
      await this.#receive(answer, text);
    } catch (error) {
      if (error.status === 401) this.#takeBack(question, asked, answer);
      else this.#failed(error, answer);
    } finally {
      answer.ariaBusy = "false";
      text.querySelector(".waiting")?.remove();
      this.#busy(null);
    }
  }

  async #receive(answer, text) {
    let written = "";
    for await (const event of this.#session.ask(this.#messages.slice(-REMEMBERED), this.#asking.signal)) {
      if (event.text) {
        const followed = atEnd();
        written += event.text;
        text.replaceChildren(written);
        if (followed) answer.scrollIntoView({ block: "end" });
      } else {
        text.replaceChildren(...this.#linked(written, event.citations));
        if (event.citations.length) answer.append(this.#sources(event.citations, event.model));
        this.#messages.push({ role: "assistant", content: written });
      }
    }
  }

  #failed(error, answer) {
    if (error.name === "AbortError") answer.append(element("p", { className: "hint" }, words.stopped));
    else answer.append(element("p", { className: "problem", role: "alert" }, error.message));
  }

  // Whose sign-in has ended finds his question in its box again.
  #takeBack(question, ...shown) {
    shown.forEach((each) => each.remove());
    this.#messages.pop();
    this.#box.value ||= question;
    this.#grow();
  }

  #busy(asking) {
    this.#asking = asking;
    this.#button.textContent = asking ? words.stop : words.send;
  }

  // The text, with each [n] that was checked by the service as a button that opens its passage.
  #linked(text, citations) {
    const known = new Map(citations.map((each) => [String(each.number), each]));
    return text.split(/\[(\d{1,4})\]/).map((part, at) => (at % 2 && known.has(part) ? this.#mark(known.get(part)) : at % 2 ? `[${part}]` : part));
  }

  #mark(citation) {
    const label = words.citation(citation.number, citation.title);
    return element("button", { type: "button", className: "mark", ariaLabel: label, title: label, onclick: (event) => this.panel.open(citation, event.currentTarget) }, String(citation.number));
  }

  #sources(citations, model) {
    const items = citations.map((citation) => element("li", {}, element("button", { type: "button", onclick: (event) => this.panel.open(citation, event.currentTarget) },
      element("span", { className: "number" }, String(citation.number)), element("span", { className: "title" }, citation.title),
      element("span", { className: "place" }, [container(citation.source), place(citation)].filter(Boolean).join(" · ")))));
    return element("section", { className: "sources" }, element("h3", {}, words.sources, element("span", { className: "model" }, model === "extractive" ? words.quoted : model)), element("ol", {}, ...items));
  }
}

function atEnd() {
  const page = document.scrollingElement;
  return page.scrollHeight - page.scrollTop - page.clientHeight < 120;
}
